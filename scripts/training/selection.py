"""Which clips are worth training on, and why the others are not. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from scripts.training.texts import letters, unknown_characters


@dataclass(frozen=True, slots=True)
class Utterance:
    """One clip with its text."""

    audio: str
    text: str
    """One spelling, as it is written."""
    spoken: str
    """In words: what the model learns to say."""
    speaker: str
    duration: float
    """Seconds."""

    @property
    def rate(self) -> float:
        """Letters a second."""
        return letters(self.spoken) / self.duration if self.duration > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What is kept. The defaults of the rate are wide: they catch wrong transcripts."""

    min_s: float = 0.5
    max_s: float = 15.0
    min_rate: float = 4.0
    """Letters a second."""
    max_rate: float = 25.0
    speakers: frozenset[str] = field(default_factory=frozenset)
    """Only these; all when empty."""


def why_not(utterance: Utterance, limits: Limits) -> str:
    """Why a clip is left out, in a word for the statistics; empty when it is kept."""
    if limits.speakers and utterance.speaker not in limits.speakers:
        return "speaker"
    if not letters(utterance.spoken):
        return "no_text"
    if unknown_characters(utterance.spoken):
        return "unknown_characters"
    if utterance.duration < limits.min_s:
        return "too_short"
    if utterance.duration > limits.max_s:
        return "too_long"
    if utterance.rate < limits.min_rate:
        return "too_slow"
    if utterance.rate > limits.max_rate:
        return "too_fast"
    return ""


def select(
    utterances: Iterable[Utterance], limits: Limits
) -> tuple[list[Utterance], list[tuple[Utterance, str]]]:
    """Those that are kept, and the others with the reason."""
    kept, left_out = [], []
    for utterance in utterances:
        reason = why_not(utterance, limits)
        if reason:
            left_out.append((utterance, reason))
        else:
            kept.append(utterance)
    return kept, left_out
