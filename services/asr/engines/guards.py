"""Is what Whisper wrote what somebody said? The checks, and why text is withheld. Pure.

Whisper always writes something. Of noise it makes what its training data had over noise: thanks for
watching, the makers of subtitles, "you"; of tones "beep beep"; of anything hard a loop. No single
number tells this from speech, so they are taken together: how surely the first token was "no
speech", how likely the text is to the model, its rate and repetition, and phrases known to be
invented. Short true replies are unlikely texts too, therefore that alone withholds hardly anything.

The no-speech probability is sharp in full context only. In short context a "right." in noise on a
telephone line had 0.85, in full context 0.48, while noise stays above 0.7: what is not clear in
short context is decoded again in full and judged by that. The thresholds were measured with tiny.en
(services/asr/README.md).
"""

import zlib
from dataclasses import dataclass
from enum import StrEnum

from services.asr.engines.guards_phrases import Inventions, normalised

_MAX_COMPRESSION = 2.4
"""Of Whisper's own transcribe (Radford et al. 2022, §4.5)."""
_MIN_LOG_PROBABILITY = -1.0
"""The same."""

_SURELY_NO_SPEECH = 0.92
"""Whatever the text: it makes "you" of 10 s of silence at 0.95; speech had 0.85 at most."""
_NO_SPEECH_AND_GUESSED = (0.6, -1.2)
"""No-speech probability above and log probability below: so in short context, too."""
_NO_SPEECH_IN_FULL = 0.75
_NO_SPEECH_AND_GUESSED_IN_FULL = (0.5, -1.1)
_DOUBTFUL_NO_SPEECH = 0.45
"""In short context: decode again in full. Spoken sentences had 0.43 at most."""
_HIDDEN_NO_SPEECH = 0.6
"""A partial is not shown; the next one or the final will tell."""
_HOPELESS_LOG_PROBABILITY = -1.6
"""Guesswork: the mean token had a probability of 0.2."""
_DOUBTFUL_ECHO = 0.5
_SHORTEST_S = 0.1
"""Nobody says a word in less."""
_TOKENS_PER_S = 8
"""Fast speech has about 5."""
_SPARE_TOKENS = 12
"""Short audio has timestamps and punctuation, too."""
_RUN = 4
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
    in_full: bool = True
    """The model saw the full context that it was trained on."""
    hints: str = ""
    """Prompt and hotwords, which Whisper likes to repeat when it hears nothing."""

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
    def doubtful(self) -> bool:
        """A decode in full context would know better."""
        no_speech = self.no_speech > _DOUBTFUL_NO_SPEECH
        return not self.in_full and (no_speech or self.looping or self.unlikely)

    @property
    def speechless(self) -> bool:
        """So surely nobody spoke that no other decode need be tried."""
        return (
            self.seconds < _SHORTEST_S
            or not any(char.isalnum() for char in self.text)
            or self.no_speech > _SURELY_NO_SPEECH
            or self._beyond(*_NO_SPEECH_AND_GUESSED)
            or (self.in_full and self._speechless_in_full)
        )

    @property
    def perhaps_speechless(self) -> bool:
        """Enough not to show it while more is to come."""
        return self.speechless or self.no_speech > _HIDDEN_NO_SPEECH

    @property
    def _speechless_in_full(self) -> bool:
        return self.no_speech > _NO_SPEECH_IN_FULL or self._beyond(*_NO_SPEECH_AND_GUESSED_IN_FULL)

    def _beyond(self, no_speech: float, log_probability: float) -> bool:
        return self.no_speech > no_speech and self.log_probability < log_probability


def why_withheld(evidence: Evidence, inventions: Inventions, language: str | None) -> Reason | None:
    """The reason to withhold a final; None: show it."""
    if evidence.speechless:
        return Reason.NO_SPEECH
    if inventions.matches(evidence.text, language, doubt=doubt(evidence)) or _is_echo(evidence):
        return Reason.INVENTED_PHRASE
    if evidence.looping or _is_scream(evidence.text):
        return Reason.REPETITION
    if evidence.log_probability < _HOPELESS_LOG_PROBABILITY:
        return Reason.UNSURE
    return None


def why_hidden(evidence: Evidence, inventions: Inventions, language: str | None) -> Reason | None:
    """The reason not to show a partial: that it is unsure is none, all of them are."""
    if evidence.perhaps_speechless:
        return Reason.NO_SPEECH
    reason = why_withheld(evidence, inventions, language)
    return None if reason is Reason.UNSURE else reason


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


def _is_echo(evidence: Evidence) -> bool:
    """Nothing but words of the hints, in doubt."""
    said, hints = (f" {normalised(text)} " for text in (evidence.text, evidence.hints))
    return doubt(evidence) >= _DOUBTFUL_ECHO and said in hints


def _is_scream(text: str) -> bool:
    letters = "".join(char for char in text.lower() if char.isalpha())
    return any(letters[at] * _RUN == letters[at : at + _RUN] for at in range(len(letters)))
