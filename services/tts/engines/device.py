"""Which failures mean that the device does not answer this process any more. Knows no library."""

_LOST = (
    "CUDA error",
    "CUDA failure",  # onnxruntime's word
    "device-side assert",
    "CUBLAS_STATUS",
    "CUDNN_STATUS",
    "cuDNN error",
)


def is_lost(error: BaseException) -> bool:
    """Whether whatever the process does next on the device will fail, too.

    A CUDA error is sticky. Memory that is used up is not; it concerns the request at hand.
    """
    name = type(error).__name__
    if name == "OutOfMemoryError" or "out of memory" in str(error):
        return False
    return name == "AcceleratorError" or any(sign in str(error) for sign in _LOST)
