"""Google's errors in our words: what helps, whether it lasts, whether another stream may work."""

from typing import NamedTuple

from services.asr.engines.base import EngineError


class GoogleError(EngineError):
    """An error of Google Cloud Speech.

    Args:
        status: gRPC's name of it, e.g. `UNAVAILABLE`.
        again: another stream with the same audio may succeed at once.
    """

    def __init__(self, sentence: str, status: str, *, lasting: bool, again: bool) -> None:
        super().__init__(sentence, lasting=lasting)
        self.status = status
        self.again = again


class _Traits(NamedTuple):
    sentence: str
    lasting: bool = False
    again: bool = False


_STATUSES = {
    "UNAUTHENTICATED": _Traits(
        "Google Cloud Speech did not accept the service's credentials; "
        "check GOOGLE_APPLICATION_CREDENTIALS",
        lasting=True,
    ),
    "PERMISSION_DENIED": _Traits(
        "the service's Google account may not recognise speech: the Speech-to-Text API must be "
        "enabled in its project, and the account needs the role Cloud Speech Client",
        lasting=True,
    ),
    "NOT_FOUND": _Traits(
        "Google Cloud Speech knows no such recognizer; "
        "check engine.google.project, location and recognizer",
        lasting=True,
    ),
    "INVALID_ARGUMENT": _Traits(
        "Google Cloud Speech refused the request; check that engine.google.model has the language, "
        "the location and the word times that are asked of it"
    ),
    "FAILED_PRECONDITION": _Traits("Google Cloud Speech refused the request in this state"),
    "RESOURCE_EXHAUSTED": _Traits("the quota of Google Cloud Speech is used up for the moment"),
    "OUT_OF_RANGE": _Traits(
        "Google Cloud Speech ended the stream at one of its limits", again=True
    ),
    "ABORTED": _Traits("Google Cloud Speech ended the stream", again=True),
    "CANCELLED": _Traits("Google Cloud Speech cancelled the stream", again=True),
    "UNAVAILABLE": _Traits("Google Cloud Speech cannot be reached at the moment", again=True),
    "INTERNAL": _Traits("Google Cloud Speech had an error of its own", again=True),
    "UNKNOWN": _Traits("Google Cloud Speech had an error of its own", again=True),
    "DEADLINE_EXCEEDED": _Traits("Google Cloud Speech did not answer in time"),
}


def error_of(status: str) -> GoogleError:
    """The error for a gRPC status by name."""
    traits = _STATUSES.get(status) or _Traits(f"Google Cloud Speech failed: {status}")
    return GoogleError(traits.sentence, status, lasting=traits.lasting, again=traits.again)
