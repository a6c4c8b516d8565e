"""Is what Whisper wrote what somebody said? The checks, and why text is withheld. Pure.

Whisper always writes something. Of noise it makes what its training data had over noise: thanks for
watching, the makers of subtitles, "you"; of tones "beep beep"; of anything hard a loop. No single
number tells this from speech, so they are taken together: how surely the first token was "no
speech", how likely the text is to the model, its rate and repetition, and phrases known to be
invented. Short true replies are unlikely to the model too, therefore a low likelihood alone
withholds nothing that was said.

Thresholds were measured with tiny.en on generated sounds (wideband and through a telephone line)
and on recorded prompts, single words cut from them and their first half second: speech has a
no-speech probability of 0.43 at most and single words 0.63, while 80 % of what is written of sounds
has more than 0.75 (services/asr/README.md).
"""

import zlib
from dataclasses import dataclass
from enum import StrEnum

from services.asr.engines.guards_phrases import Inventions

# Of Whisper's own transcribe (Radford et al. 2022, §4.5).
_MAX_COMPRESSION = 2.4
_MIN_LOG_PROBABILITY = -1.0
_MAX_NO_SPEECH = 0.6

_SURELY_NO_SPEECH = 0.92
"""Withheld however sure of its text the model is: it makes "you" of 10 s of silence at 0.95."""
_PROBABLY_NO_SPEECH = 0.75
_CERTAIN_TEXT = -0.4
"""Log probability of text that even probable silence does not make doubtful."""
_HOPELESS_LOG_PROBABILITY = -1.6
"""Guesswork: the mean token had a probability of 0.2."""
_SHORTEST_S = 0.1
"""Nobody says a word in less."""
_TOKENS_PER_S = 8
"""Fast speech has about 5."""
_SPARE_TOKENS = 12
"""Short audio has timestamps and punctuation, too."""
_RUN = 5
"""The same letter as often as this is a scream, not a word."""


class Reason(StrEnum):
    """Why text is withheld."""

    NO_SPEECH = "no_speech"
    REPETITION = "repetition"
    INVENTED_PHRASE = "invented_phrase"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a decode tells besides its text."""

    text: str
    seconds: float
    """Of audio."""
    tokens: int
    log_probability: float
    """Mean of the tokens'."""
    no_speech: float
    """Probability that the model gave to nobody speaking."""
    exhausted: bool = False
    """The budget of tokens was used up."""

    @property
    def looping(self) -> bool:
        """The decoder repeats itself, or writes faster than anybody speaks."""
        return (
            self.exhausted
            or self.tokens > self.seconds * _TOKENS_PER_S + _SPARE_TOKENS
            or compression_ratio(self.text) > _MAX_COMPRESSION
        )

    @property
    def unlikely(self) -> bool:
        return self.log_probability < _MIN_LOG_PROBABILITY

    @property
    def speechless(self) -> bool:
        """So surely nobody spoke that no other decode need be tried."""
        return (
            self.seconds < _SHORTEST_S
            or not any(char.isalnum() for char in self.text)
            or self.no_speech > _SURELY_NO_SPEECH
            or (self.no_speech > _PROBABLY_NO_SPEECH and self.log_probability < _CERTAIN_TEXT)
            or (self.no_speech > _MAX_NO_SPEECH and self.unlikely)
        )


def why_withheld(evidence: Evidence, inventions: Inventions, language: str | None) -> Reason | None:
    """The reason to withhold a text that no better decode is to be had of; None: show it."""
    if evidence.speechless:
        return Reason.NO_SPEECH
    if inventions.matches(evidence.text, language, doubt=doubt(evidence)):
        return Reason.INVENTED_PHRASE
    if evidence.looping or _is_scream(evidence.text):
        return Reason.REPETITION
    if evidence.log_probability < _HOPELESS_LOG_PROBABILITY:
        return Reason.UNSURE
    return None


def doubt(evidence: Evidence) -> float:
    """How little speaks for speech, 0 to 1.

    Mostly the no-speech probability: true short replies are unlikely texts, too.
    """
    by_silence = (evidence.no_speech - 0.2) / 0.4
    by_text = max(0.0, -0.9 - evidence.log_probability) / 2
    return min(1.0, max(0.0, by_silence + by_text))


def compression_ratio(text: str) -> float:
    """Length over compressed length; high for text that repeats itself."""
    data = text.encode()
    return len(data) / len(zlib.compress(data)) if data else 0.0


def _is_scream(text: str) -> bool:
    letters = "".join(char for char in text.lower() if char.isalpha())
    return any(letters[at] * _RUN == letters[at : at + _RUN] for at in range(len(letters)))
