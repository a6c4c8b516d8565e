"""A spoken language of tones that needs no model: every burst of a tone is one word.

Unlike the fake engine's words, which are stretches of a grid, these begin and end where they were
spoken, so that a test can tell whether one was lost, doubled or cut when audio is heard in pieces.
"""

from collections.abc import Sequence

import numpy as np

from services.asr.engines.base import DecodeRequest, Floats, Hypothesis, HypothesisWord
from services.asr.engines.fake import FakeEngine
from tests.services.asr.sounds import joined, silence, tone

WORD_MS = 200
"""150 ms of tone and a gap too short to be a pause."""
_FRAME = 160
_SHORTEST = 2
"""Frames of a sound that is a word."""


def spoken(words: Sequence[str]) -> Floats:
    """Words like "w12" (1200 Hz), 200 ms each."""
    return joined(
        *(joined(tone(100 * int(word[1:]), 150), silence(WORD_MS - 150)) for word in words)
    )


def sentence(count: int, first: int = 0) -> list[str]:
    """Words, no two of ten in a row alike."""
    return [f"w{4 + (first + index) * 7 % 30}" for index in range(count)]


class Bursts:
    """Hears a stream in chunks of any size."""

    def __init__(self) -> None:
        self.words: list[HypothesisWord] = []
        self.quiet_ms = 0
        """Silence since the last sound."""
        self._rest: Floats = np.zeros(0, dtype=np.float32)
        self._sound: list[Floats] = []
        self._frames = 0

    @property
    def heard_ms(self) -> int:
        return self._frames * 10

    def push(self, samples: Floats) -> None:
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // _FRAME * _FRAME
        self._rest = samples[whole:]
        for frame in samples[:whole].reshape(-1, _FRAME):
            self._hear(frame)

    def all(self) -> list[HypothesisWord]:
        """The words so far, the one that is just being said among them."""
        return [*self.words, *self._last()]

    def _hear(self, frame: Floats) -> None:
        self._frames += 1
        if float(np.sqrt(np.mean(np.square(frame)))) >= 0.05:
            self.quiet_ms = 0
            self._sound.append(frame)
            return
        self.quiet_ms += 10
        self.words += self._last(self._frames - 1)
        self._sound = []

    def _last(self, end: int | None = None) -> list[HypothesisWord]:
        count = len(self._sound)
        if count < _SHORTEST:
            return []
        sound = np.concatenate(self._sound)
        padded = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 16_000))
        hertz = int(np.argmax(padded[100:])) + 100
        last = self._frames if end is None else end
        return [HypothesisWord(f"w{round(hertz / 100)}", (last - count) * 10, last * 10, 0.9)]


class BurstEngine(FakeEngine):
    """A batch engine for the language."""

    def __init__(self, *, delay_s: float = 0.0) -> None:
        super().__init__(delay_s=delay_s, languages=("en",))

    def _one(self, request: DecodeRequest) -> Hypothesis | Exception:
        ear = Bursts()
        ear.push(request.audio)
        words = ear.all()
        promised = request.prefix.split()
        texts = promised + [word.word for word in words[len(promised) :]]
        return Hypothesis(
            text=" ".join(texts),
            language="en",
            confidence=1.0,
            words=tuple(words) if request.word_timestamps else (),
            suppressed=None if texts else "no_speech",
        )
