"""The seam of engines that listen to a stream: audio is pushed while it is heard, text comes back.

A cloud service is one; a model that keeps its own state over frames may be another. Everything here
is called on the event loop. What costs time is awaited, and whatever is awaited has a time limit of
the engine's own.
"""

from dataclasses import dataclass
from typing import Protocol

from typing_extensions import TypeIs

from services.asr.engines.base import AsrEngine, Capabilities, DecodeRequest, Floats, Hypothesis


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What is asked of one stream."""

    language: str | None = None
    """ISO 639-1; None: detect it among those that the engine has."""
    prompt: str = ""
    hotwords: tuple[str, ...] = ()
    word_timestamps: bool = False

    @classmethod
    def of(cls, request: DecodeRequest) -> "StreamOptions":
        return cls(request.language, request.prompt, request.hotwords, request.word_timestamps)


@dataclass(frozen=True, slots=True)
class Interim:
    """What the engine has understood so far, from the stream's first sample on."""

    text: str = ""
    stable: str = ""
    """A prefix of `text` with which the final will begin."""
    version: int = 0
    """Grows with every change."""


class RecognitionStream(Protocol):
    """One stretch of speech: pushed, then finished or closed."""

    def push(self, samples: Floats) -> None:
        """The next audio: [n], 16 kHz mono. Never waits; the stream keeps what it cannot send."""
        ...

    async def room(self) -> None:
        """Return when the stream is no more than a few seconds of audio behind."""
        ...

    async def newer(self, version: int) -> Interim:
        """What is understood, as soon as it is newer than `version` or the stream is over.

        Raises:
            EngineError: the stream is lost.
        """
        ...

    @property
    def interim(self) -> Interim: ...

    async def finish(self) -> Hypothesis:
        """No more audio will come: the final text. Times are from the stream's first sample.

        Raises:
            EngineError: the stream is lost, or there was no answer in time.
        """
        ...

    def close(self) -> None:
        """Give it up. May be called at any time, also twice."""
        ...


class StreamingEngine(Protocol):
    """Opens streams. `load` may take seconds and runs off the event loop; `start` runs on it."""

    @property
    def capabilities(self) -> Capabilities: ...

    def load(self) -> None: ...

    async def start(self) -> None: ...

    def open(self, options: StreamOptions) -> RecognitionStream:
        """A new stream; it connects by itself."""
        ...

    async def transcribe(self, request: DecodeRequest) -> Hypothesis:
        """A piece of a recording, all of which is there.

        Raises:
            EngineError
        """
        ...

    async def close(self) -> None: ...


def is_streaming(engine: AsrEngine | StreamingEngine) -> TypeIs[StreamingEngine]:
    """Tells the two kinds of engines apart, before they are loaded."""
    return hasattr(engine, "open")
