"""How the callers of a run behave."""

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Manner:
    """The same for all callers."""

    asr_url: str
    """`ws://host:port`"""
    tts_url: str
    asr_key: str | None = None
    tts_key: str | None = None
    exact: bool = True
    """The engines are fake: everything can be held against what was sent, to the last bit."""
    alike: float = 0.5
    """With real engines: the share of an utterance's words that its final must have."""
    partials: bool = True
    resume: bool = True
    """ASR sessions may go on over another connection."""
    tokens_per_s: float = 40.0
    answer_within_s: float = 15.0
    """Beyond this an answer is missing."""
    come_back_s: tuple[float, float] = (0.1, 0.4)
    """Pause before a lost session is opened anew, drawn from this range."""
    pause_s: tuple[float, float] = (0.3, 1.2)
    """Between a reply and the next utterance."""
    call_s: float = inf
    """Callers hang up after about so long, and call again."""
