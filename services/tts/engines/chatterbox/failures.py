"""What torch's failures mean to the service."""

from services.tts.engines.base import EngineError, EngineLost

_LOST = ("CUDA error", "device-side assert", "CUBLAS_STATUS", "CUDNN_STATUS", "cuDNN error")


def engine_error(error: BaseException) -> EngineError:
    """The error to raise for what a model raised.

    A CUDA error is sticky: whatever the process does next on the device fails, too. Memory that is
    used up is not; it concerns the request at hand.
    """
    if isinstance(error, EngineError):
        return error
    name = type(error).__name__
    if name == "OutOfMemoryError":
        return EngineError("the device has no memory left for this request")
    if name == "AcceleratorError" or any(sign in str(error) for sign in _LOST):
        return EngineLost(f"the device stopped working: {error}")
    return EngineError(f"the model failed on this text: {error}")
