"""What `voice agent doctor` finds. Checks of other packages are plug-ins: an entry point of the
group `voice.agent.checks` names an `async () -> Sequence[Finding]`."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    what: str
    state: State
    found: str
    remedy: str | None = None
    """What to do about it."""
