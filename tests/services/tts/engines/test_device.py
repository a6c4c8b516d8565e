"""What libraries say when a device is gone, and when it is not."""

import pytest

from services.tts.engines.device import is_lost


class AcceleratorError(RuntimeError):
    """torch's name since 2.8."""


class OutOfMemoryError(RuntimeError):
    """torch's name."""


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError("CUDA error: device-side assert triggered"), True),
        (RuntimeError("CUDNN_STATUS_EXECUTION_FAILED"), True),
        (RuntimeError("CUDA failure 700: an illegal memory access was encountered"), True),
        (AcceleratorError("unspecified launch failure"), True),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), False),
        (RuntimeError("CUDA error: out of memory"), False),
        (RuntimeError("shapes cannot be multiplied"), False),
    ],
)
def test_sticky_errors_are_told_from_others(error: Exception, lost: bool) -> None:
    assert is_lost(error) is lost
