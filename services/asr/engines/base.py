"""The seam of recognition: requests with audio in, hypotheses out. Synchronous and stateless.

An engine is entered by its scheduler's threads only, as many at a time as it has lanes. What a
conversation needs to remember (the audio of the turn, the words already promised) comes with every
request, so that one model serves any number of sessions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


class EngineError(Exception):
    """The engine could not do it; the sentence may be shown to the client.

    Args:
        lasting: it will fail again until somebody mends it (credentials, permissions).
    """

    def __init__(self, sentence: str, *, lasting: bool = False) -> None:
        super().__init__(sentence)
        self.lasting = lasting


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do."""

    model: str
    languages: tuple[str, ...]
    """ISO 639-1 codes that it understands."""
    max_seconds: float
    """Longest audio of one request."""
    word_timestamps: bool
    max_batch: int
    lanes: int = 1
    """Batches that may run at the same time, each in a thread of its own."""
    streaming: bool = False
    """It listens along: a final cannot be begun early and withdrawn without cost, and what it has
    heard it cannot unhear."""


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """One piece of audio to recognise."""

    audio: Floats = field(repr=False)
    """[n] samples, 16 kHz mono in [-1, 1]."""
    final: bool
    """False: fast and provisional. True: as good as the engine can."""
    language: str | None = None
    """None: detect it."""
    prefix: str = ""
    """Text that the hypothesis must begin with (already promised to the client)."""
    prompt: str = ""
    hotwords: tuple[str, ...] = ()
    word_timestamps: bool = False

    @property
    def seconds(self) -> float:
        return len(self.audio) / 16_000


@dataclass(frozen=True, slots=True)
class HypothesisWord:
    word: str
    start_ms: int
    """From the request's first sample."""
    end_ms: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What an engine heard."""

    text: str
    language: str | None = None
    confidence: float | None = None
    """Mean token probability, 0 to 1."""
    words: tuple[HypothesisWord, ...] = ()
    suppressed: str | None = None
    """Why the text was withheld; then `text` is empty."""
    stable: str | None = None
    """The beginning of `text` that the engine itself promises not to change; None: it promises
    nothing, and what successive hypotheses agree on is taken."""
    engine: str | None = None
    """Which engine of several answered."""


class AsrEngine(Protocol):
    """A recogniser. `load` may take seconds; everything else assumes it."""

    @property
    def capabilities(self) -> Capabilities: ...

    def load(self) -> None: ...

    def warm_up(self) -> None:
        """Run once on every shape that matters, so that the first caller does not pay for it."""
        ...

    def batch_key(self, request: DecodeRequest) -> object:
        """Requests with equal keys give the same text in one batch as alone."""
        ...

    def cost(self, request: DecodeRequest) -> float:
        """What a request costs in a batch, in any unit: the scheduler learns what it takes."""
        ...

    def transcribe(self, requests: Sequence[DecodeRequest]) -> list[Hypothesis | Exception]:
        """Recognise a batch; one answer each, in order."""
        ...

    def close(self) -> None: ...
