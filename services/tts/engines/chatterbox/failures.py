"""What torch's failures mean to the service."""

from services.tts.engines.base import EngineError, EngineLost
from services.tts.engines.device import is_lost


def engine_error(error: BaseException) -> EngineError:
    """The error to raise for what a model raised."""
    if isinstance(error, EngineError):
        return error
    if type(error).__name__ == "OutOfMemoryError":
        return EngineError("the device has no memory left for this request")
    if is_lost(error):
        return EngineLost(f"the device stopped working: {error}")
    return EngineError(f"the model failed on this text: {error}")
