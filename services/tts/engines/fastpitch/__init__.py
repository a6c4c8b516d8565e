"""FastPitch (NeMo) with BigVGAN: durations and pitch in one go, then audio window by window.

Two engines share everything but how the networks are run: `engine.py` on torch from `.nemo` files,
`onnx_engine.py` on onnxruntime from what `scripts/export_onnx.py` made of them. Text becomes tokens
without NeMo in both (`tokens.py`), so that they say the same and know which word a token is of.
"""
