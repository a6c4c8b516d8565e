"""A synthesiser without a model: every word is a tone. For tests of everything around it."""

import time
import zlib
from collections.abc import Generator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from services.tts.engines.base import (
    AudioPiece,
    Capabilities,
    EngineError,
    Floats,
    ReadWord,
    SynthesisRequest,
    Voice,
    WordTime,
)
from services.tts.engines.checks import check_request, is_speakable

SAMPLE_RATE = 16_000
MS_PER_CHARACTER = 40
GAP_MS = 20
"""Silence after each word."""
FAIL_WORD = "FAIL"
"""A word that makes the engine fail when it comes to it."""
CRASH_WORD = "CRASH"
"""A word that makes the engine raise what it should not."""


class FakeEngine:
    """Speaks each word as a tone of the word's own frequency, one piece a word.

    A word takes 40 ms a character and 20 ms of silence, divided by the speed; so both what was said
    and how long it takes can be computed in a test.

    A cloned voice says every word in the pitch that its reference has.

    Args:
        delay_s: time that each piece takes to make.
        cloning: make voices of reference audio.
        weights: stands for the model's: with another one, conditionings must be made anew.
    """

    name = "fake"

    def __init__(
        self,
        *,
        delay_s: float = 0.0,
        max_characters: int = 1000,
        cloning: bool = False,
        weights: str = "1",
    ) -> None:
        self._delay_s = delay_s
        self.conditioning_version = f"fake-{weights}"
        self.capabilities = Capabilities(
            streaming=True,
            word_timestamps=True,
            cloning=cloning,
            languages=("en-US", "vi-VN"),
            max_characters=max_characters,
        )
        self._voices = tuple(
            Voice(
                id=f"fake-{language[:2]}",
                name=f"Fake {language}",
                language=language,
                sample_rate=SAMPLE_RATE,
                engine=self.name,
                licence="MIT",
            )
            for language in self.capabilities.languages
        )

    def load(self) -> None:
        """Nothing to load."""

    def warm_up(self) -> None:
        """Nothing to warm."""

    def close(self) -> None:
        """Nothing to free."""

    def voices(self) -> tuple[Voice, ...]:
        return self._voices

    def condition(self, reference: Floats, sample_rate: int) -> Mapping[str, npt.NDArray[Any]]:
        """The pitch of the reference."""
        if self._delay_s:
            time.sleep(self._delay_s)
        hertz = reference_hertz(reference, sample_rate)
        return {"hertz": np.array([hertz], dtype=np.float32)}

    def synthesize(self, request: SynthesisRequest) -> Generator[AudioPiece, None, None]:
        check_request(request, self._voices, self.capabilities)
        made_by = request.conditioning.version if request.conditioning else None
        if made_by not in (None, self.conditioning_version):
            raise EngineError(f"the conditioning was made by {made_by}")
        at_ms = 0
        words = request.words or [ReadWord(word, word) for word in request.text.split()]
        for word, spoken in ((each.written, each.spoken) for each in words):
            if not is_speakable(spoken):
                continue
            if self._delay_s:
                time.sleep(self._delay_s)
            if word.strip(".,!?") == FAIL_WORD:
                raise EngineError("the fake engine was told to fail")
            if word.strip(".,!?") == CRASH_WORD:
                raise RuntimeError("the fake engine was told to crash")
            piece = _piece(word, spoken, at_ms, request)
            at_ms += len(piece.samples) * 1000 // SAMPLE_RATE
            yield piece


def reference_hertz(reference: Floats, sample_rate: int) -> float:
    """The fundamental frequency of a voice, 60 to 500 Hz: the median of its frames."""
    size = sample_rate // 20
    frames = reference[: len(reference) // size * size].reshape(-1, size).astype(np.float64)
    lags = np.arange(sample_rate // 500, sample_rate // 60)
    loud = frames[np.mean(frames**2, axis=1) >= np.mean(frames**2)]
    found = [sample_rate / lags[_correlation(frame)[lags].argmax()] for frame in loud]
    return float(np.median(found))


def _correlation(frame: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    spectrum = np.fft.rfft(frame, 2 * len(frame))
    return np.fft.irfft(np.abs(spectrum) ** 2)


def word_ms(word: str, speed: float = 1.0) -> int:
    """How long the fake engine takes to say `word`, its gap left out."""
    return int(len(word) * MS_PER_CHARACTER / speed)


def word_hertz(word: str) -> int:
    """The tone of `word`: 200 to 3175 Hz, in steps of 25 Hz."""
    return 200 + zlib.crc32(word.encode()) % 120 * 25


def spoken_word(word: str, speed: float = 1.0, hertz: float | None = None) -> Floats:
    """`word` as this engine says it, with the silence after it: [n] at 16 kHz."""
    gap = np.zeros(int(GAP_MS / speed) * SAMPLE_RATE // 1000, dtype=np.float32)
    pitch = word_hertz(word) if hertz is None else hertz
    return np.concatenate([_tone(pitch, word_ms(word, speed)), gap])


def _piece(word: str, spoken: str, at_ms: int, request: SynthesisRequest) -> AudioPiece:
    hertz = None
    if request.conditioning is not None:
        hertz = float(request.conditioning.tensors["hertz"][0])
    samples = spoken_word(spoken, request.speed, hertz)
    return AudioPiece(samples, (WordTime(word, at_ms, at_ms + word_ms(spoken, request.speed)),))


def _tone(hertz: float, duration_ms: int) -> Floats:
    seconds = np.arange(duration_ms * SAMPLE_RATE // 1000) / SAMPLE_RATE
    return (0.3 * np.sin(2 * np.pi * hertz * seconds)).astype(np.float32)
