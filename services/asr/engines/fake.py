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
_LOUD = 0.01


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
        blocks = _loud_blocks(request.audio)
        promised = request.prefix.split()
        texts = promised + [word_of(block) for _, block in blocks[len(promised) :]]
        return Hypothesis(
            text=" ".join(texts),
            language=request.language or "en",
            confidence=1.0,
            words=tuple(_timed(block) for block in blocks) if request.word_timestamps else (),
            suppressed=None if texts else "no_speech",
        )


def _loud_blocks(audio: Floats) -> list[tuple[int, Floats]]:
    """Blocks with a sound in them and where they start; the last may be half a block short.

    This engine shows what the service around it costs, so it looks at all blocks at once.
    """
    whole = len(audio) // _BLOCK
    blocks = audio[: whole * _BLOCK].reshape(whole, _BLOCK)
    loud = np.flatnonzero(np.einsum("ij,ij->i", blocks, blocks) >= _LOUD**2 * _BLOCK)
    found = [(int(index) * _BLOCK, blocks[index]) for index in loud]
    rest = audio[whole * _BLOCK :]
    if len(rest) >= _BLOCK // 2 and np.dot(rest, rest) >= _LOUD**2 * len(rest):
        found.append((whole * _BLOCK, rest))
    return found


def word_of(block: Floats) -> str:
    """What is heard in the samples of one block."""
    peak = int(np.argmax(np.abs(np.fft.rfft(block))[1:])) + 1
    hertz = peak * 16_000 / len(block)
    return f"w{round(hertz / 100)}"


def _timed(place: tuple[int, Floats]) -> HypothesisWord:
    start, block = place
    at = start // 16
    return HypothesisWord(word_of(block), at, at + len(block) // 16, 1.0)
