"""What the callers saw, as they noted it. Times are seconds of `time.monotonic()`. Pure."""

from dataclasses import dataclass, field
from typing import Literal

Side = Literal["asr", "tts"]
How = Literal["resumed", "new", "never"]


@dataclass(slots=True)
class Outage:
    """A session that was lost, or its connection."""

    side: Side
    lost_s: float
    why: str
    """Close code and reason, or the service's error code."""
    back_s: float | None = None
    """When the session went on, or a new one was there."""
    how: How = "never"
    """`resumed`: the same session went on. `new`: another took its place."""


@dataclass(slots=True)
class Turn:
    """One utterance and its answer."""

    began_s: float
    flush: bool
    """Ended by the caller's `flush`; else by silence."""
    flushed_s: float | None = None
    """When the flush was sent, right behind the last audio."""
    final_s: float | None = None
    cuts: int = 0
    """Finals with `turn_end` and words beside the one that reaches to its end."""
    said: int = 0
    """How often the caller said it: once, unless a session was lost meanwhile."""
    own: bool = True
    whole: bool = True
    foreign_would_pass: bool = False
    """The check that finds crossed finals would have taken this one for another caller's."""
    decode_ms: int = 0
    """What the engine took, as told."""

    @property
    def answered(self) -> bool:
        return self.final_s is not None


@dataclass(slots=True)
class Reply:
    """One text that was to be spoken."""

    began_s: float
    flushed_s: float | None = None
    first_s: float | None = None
    """First audio."""
    finished_s: float | None = None
    asked: int = 0
    """How often it was asked for: once, unless a session was lost meanwhile."""
    broken_off: int = 0
    """How often a session was lost when some of it had been heard."""
    received_ms: float = 0.0
    told_ms: float = 0.0
    own: bool = True
    underruns: int = 0


@dataclass(slots=True)
class Diary:
    """Everything that happened to one caller."""

    number: int
    turns: list[Turn] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)
    crossed: list[str] = field(default_factory=list)
    """Messages that belong to nothing that this caller did."""
    doubled: int = 0
    """Finals over audio that another final has covered already."""
    late: int = 0
    """Finals of this caller's own words that came when none was awaited any more."""
    errors: list[str] = field(default_factory=list)
    """Errors that were told without an end of the session, and what else went wrong."""
    refused: int = 0
    """Connections declined because of the load, or while an instance shut down."""
    dropped_ms: int = 0
    stopped: int = 0
    """Sessions that told at their end what they had received."""
    lateness_s: list[float] = field(default_factory=list)
    """How late the generator was with its chunks: one a second is noted."""
