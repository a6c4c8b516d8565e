"""A streaming engine for the language of bursts, without a service behind it."""

import asyncio

import numpy as np

from services.asr.engines.base import (
    Capabilities,
    DecodeRequest,
    EngineError,
    Floats,
    Hypothesis,
)
from services.asr.engines.streaming import Interim, StreamOptions
from tests.services.asr.bursts import BurstEngine, Bursts
from tests.services.asr.sounds import silence


class ToneStream:
    """Understands words as they come; those that a pause follows are settled."""

    def __init__(self, options: StreamOptions) -> None:
        self.options = options
        self.pushed: list[Floats] = []
        self.finished = self.closed = False
        self.failure: EngineError | None = None
        self.interim = Interim()
        self._ear = Bursts()
        self._settled = 0
        self._news = asyncio.Event()

    def push(self, samples: Floats) -> None:
        assert not self.finished, "audio after the end"
        self.pushed.append(samples)
        self._ear.push(samples)
        words = [word.word for word in self._ear.all()]
        if self._ear.quiet_ms >= 300:
            self._settled = len(words)
        stable = " ".join(words[: self._settled])
        if (" ".join(words), stable) != (self.interim.text, self.interim.stable):
            self.interim = Interim(" ".join(words), stable, self.interim.version + 1)
            self._news.set()

    async def room(self) -> None:
        return None

    async def newer(self, version: int) -> Interim:
        while self.interim.version <= version and self.failure is None and not self.closed:
            self._news.clear()
            await self._news.wait()
        if self.failure is not None:
            raise self.failure
        return self.interim

    async def finish(self) -> Hypothesis:
        self.finished = True
        await asyncio.sleep(0.01)
        if self.failure is not None:
            raise self.failure
        words = tuple(self._ear.all())
        text = " ".join(word.word for word in words)
        return Hypothesis(text, "en", 0.9, words, None if text else "no_speech")

    def close(self) -> None:
        self.closed = True
        self._news.set()

    def fail(self) -> None:
        self.failure = EngineError("the line is dead")
        self._news.set()

    @property
    def heard(self) -> Floats:
        return np.concatenate(self.pushed) if self.pushed else silence(0)


class ToneStreams:
    """The engine."""

    def __init__(self) -> None:
        self.capabilities = Capabilities(
            "tones", ("en",), max_seconds=60.0, word_timestamps=True, max_batch=1, streaming=True
        )
        self.streams: list[ToneStream] = []

    def load(self) -> None:
        """Nothing to load."""

    async def start(self) -> None:
        """Nothing to start."""

    def open(self, options: StreamOptions) -> ToneStream:
        self.streams.append(ToneStream(options))
        return self.streams[-1]

    async def transcribe(self, request: DecodeRequest) -> Hypothesis:
        [answer] = BurstEngine().transcribe([request])
        assert isinstance(answer, Hypothesis)
        return answer

    async def close(self) -> None:
        """Nothing to close."""
