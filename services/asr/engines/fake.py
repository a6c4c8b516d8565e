"""A recogniser without a model: it tells how much it heard. For tests of everything around it."""

import time
from collections.abc import Sequence

import numpy as np

from services.asr.engines.base import (
    Capabilities,
    DecodeRequest,
    EngineError,
    Floats,
    Hypothesis,
    HypothesisWord,
)

_BLOCK = 3200
"""200 ms: each block louder than -40 dBFS is one word, named by its pitch."""


class FakeEngine:
    """Every 200 ms of sound is one word: `w` and the block's dominant frequency in 100 Hz.

    A tone of 400 Hz reads "w4 w4 …", so that a test can tell sessions apart. A prefix is honoured
    as real engines do: the text begins with it.
    """

    def __init__(self, *, delay_s: float = 0.0, languages: tuple[str, ...] = ("en", "vi")) -> None:
        self._delay_s = delay_s
        self.capabilities = Capabilities(
            model="fake",
            languages=languages,
            max_seconds=30.0,
            word_timestamps=True,
            max_batch=16,
        )

    def load(self) -> None:
        """Nothing to load."""

    def warm_up(self) -> None:
        """Nothing to warm."""

    def close(self) -> None:
        """Nothing to free."""

    def batch_key(self, request: DecodeRequest) -> object:
        return request.final

    def cost(self, request: DecodeRequest) -> float:
        return 1.0

    def transcribe(self, requests: Sequence[DecodeRequest]) -> list[Hypothesis | Exception]:
        if self._delay_s:
            time.sleep(self._delay_s)
        return [self._one(request) for request in requests]

    def _one(self, request: DecodeRequest) -> Hypothesis | Exception:
        if request.seconds > self.capabilities.max_seconds:
            return EngineError(f"{request.seconds:.1f} s of audio are too long")
        words = _words(request.audio)
        promised = request.prefix.split()
        texts = promised + [word.word for word in words[len(promised) :]]
        return Hypothesis(
            text=" ".join(texts),
            language=request.language or "en",
            confidence=1.0,
            words=tuple(words) if request.word_timestamps else (),
            suppressed=None if texts else "no_speech",
        )


def _words(audio: Floats) -> list[HypothesisWord]:
    words = []
    for start in range(0, len(audio) - _BLOCK // 2 + 1, _BLOCK):
        block = audio[start : start + _BLOCK]
        if float(np.sqrt(np.mean(np.square(block)))) < 0.01:
            continue
        peak = int(np.argmax(np.abs(np.fft.rfft(block))[1:])) + 1
        hertz = peak * 16_000 / len(block)
        at = start // 16
        words.append(HypothesisWord(f"w{round(hertz / 100)}", at, at + len(block) // 16, 1.0))
    return words
