"""What a call makes of a service that refuses it: how long it waits, and when not at all. Pure.

A service says with its refusal how long trying again is in vain (`Retry-After`).
"""

from services.client.connection import ServiceError
from services.shared.protocol.base import ErrorCode

_LONGEST_WAIT_S = 10.0
"""Other sessions may have ended by then, whatever was said; calls do not wait for longer."""


def is_final(error: Exception, patience_s: float) -> bool:
    """Over a quota that is not there again while the caller can be kept waiting.

    Too many sessions at a time are no such thing: others end.
    """
    if not isinstance(error, ServiceError) or error.code != ErrorCode.QUOTA_EXCEEDED:
        return False
    return error.retry_after_s is None or error.retry_after_s > patience_s


def wait_s(error: Exception | None, pause_s: float) -> float:
    """Until the next attempt.

    What a service without room says is for new callers. This one is on the line, and hears every
    second of it: whoever serves it tries as soon as pauses that grow by themselves allow.

    Args:
        error: of the last one.
        pause_s: at least.
    """
    if not isinstance(error, ServiceError) or error.code != ErrorCode.QUOTA_EXCEEDED:
        return pause_s
    return max(pause_s, min(error.retry_after_s or 0.0, _LONGEST_WAIT_S))
