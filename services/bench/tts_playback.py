"""A listener's loudspeaker: plays what arrived in real time, and notes when it ran dry. Pure."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Underrun:
    """A hole in the sound."""

    at_s: float
    """When the sound stopped; the caller's clock."""
    gap_s: float


@dataclass(slots=True)
class Player:
    """Plays from the first sample on, without any buffer of its own: the strictest listener.

    Times are seconds of one clock, which the caller reads.
    """

    heard_s: float = 0.0
    """Audio that arrived."""
    began_s: float | None = None
    """When the sound began."""
    until_s: float = 0.0
    """When what has arrived is played out."""
    underruns: list[Underrun] = field(default_factory=list)

    def push(self, at_s: float, seconds: float) -> None:
        """`seconds` of audio arrive at `at_s`."""
        if self.began_s is None:
            self.began_s = self.until_s = at_s
        elif at_s > self.until_s:
            self.underruns.append(Underrun(self.until_s, at_s - self.until_s))
            self.until_s = at_s
        self.until_s += seconds
        self.heard_s += seconds
