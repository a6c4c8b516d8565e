"""The caller's turn as it grows, and whether their voice over the agent's is an interruption."""

from dataclasses import dataclass, field

from examples.voice_agent.config import BargeConfig
from examples.voice_agent.hearing import Judged, Verdict


@dataclass(slots=True)
class Barge:
    """The caller spoke while the agent had the floor."""

    onset_s: float
    paused: bool
    """The agent is silent until this is decided."""
    heard: Judged = Judged(Verdict.NOTHING)
    """The latest words."""
    told: bool = False
    """The recogniser has told anything at all."""

    def decided_by_s(self, config: BargeConfig) -> float:
        """Until when words are waited for.

        A recogniser with much to do says nothing for a while; an agent that then speaks on into the
        caller's sentence is worse than a longer pause.
        """
        return self.onset_s + (config.decide_s if self.told else config.wordless_s)

    def is_real(self, now: float, judged: Judged, config: BargeConfig) -> bool:
        """These words, not necessarily all of them yet, are meant as an interruption."""
        self.heard, self.told = judged, True
        if not judged.real:
            return False
        long_enough = now - self.onset_s >= config.min_speech_s
        return judged.verdict is Verdict.STOP or judged.words >= config.min_words or long_enough


@dataclass(slots=True)
class OpenTurn:
    """From the first sound to the final that ends the turn."""

    onset_s: float | None = None
    """None: nobody has begun to speak."""
    echo_possible: bool = False
    """The agent was heard at the onset or a moment before."""
    parts: list[str] = field(default_factory=list)
    """Finals that did not end it."""
    pending_s: float | None = None
    speculations: int = 0
    barge: Barge | None = None

    def text(self, last: str) -> str:
        return " ".join(part for part in (*self.parts, last.strip()) if part)

    @property
    def speaking(self) -> bool:
        return self.onset_s is not None

    @property
    def has_floor(self) -> bool:
        """Somebody speaks, and the agent should not."""
        return self.speaking and (self.barge is None or self.barge.paused)

    @property
    def echo_onset_s(self) -> float | None:
        """For :meth:`.Hearing.judge`."""
        return self.onset_s if self.echo_possible else None
