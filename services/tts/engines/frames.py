"""What an engine's process and its host tell each other, over one connection, in pickles.

Every `Call` is answered by one `Answer` or `Failed` with its number; the answers come in any order.
A stream's next piece is asked for, so nothing piles up on the way.
"""

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from services.shared.protocol.base import ErrorCode
from services.shared.runtime.config import LogConfig
from services.tts.engines.base import (
    AudioPiece,
    Capabilities,
    EngineError,
    EngineLost,
    EngineUnavailable,
    Floats,
    SynthesisRequest,
    TtsEngine,
    Voice,
)
from services.tts.engines.device import is_lost


class WorkerFault(Exception):
    """The engine raised what it should not; the message holds the traceback of its process."""


# Host → process.


@dataclass(frozen=True, slots=True)
class Spec:
    """The first frame: what the process is for."""

    name: str
    """Of the engine, in logs."""
    make: Callable[[], TtsEngine]
    log: LogConfig


@dataclass(frozen=True, slots=True)
class NextPiece:
    """Call: the next piece of a stream; None at its end."""

    call: int
    stream: int
    request: SynthesisRequest | None
    """With the first call of a stream only."""


@dataclass(frozen=True, slots=True)
class MakeConditioning:
    """Call: the tensors of a cloned voice."""

    call: int
    reference: Floats
    sample_rate: int


@dataclass(frozen=True, slots=True)
class InterruptStream:
    """End what runs for this stream now."""

    stream: int


@dataclass(frozen=True, slots=True)
class CloseStream:
    """Nothing more of this stream is wanted."""

    stream: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Close the engine and end."""


Order = Spec | NextPiece | MakeConditioning | InterruptStream | CloseStream | Stop


# Process → host.


@dataclass(frozen=True, slots=True)
class Ready:
    """The engine is loaded and warm."""

    capabilities: Capabilities
    voices: tuple[Voice, ...]
    conditioning_version: str
    """Of a cloning engine; else empty."""


@dataclass(frozen=True, slots=True)
class Answer:
    call: int
    value: AudioPiece | Mapping[str, npt.NDArray[Any]] | None


@dataclass(frozen=True, slots=True)
class Failed:
    """What was raised, in words: not every exception survives a pickle."""

    call: int
    """0: while it was loading."""
    kind: str
    message: str
    code: ErrorCode = ErrorCode.ENGINE_FAILED
    retry_after_s: int | None = None


Report = Ready | Answer | Failed

_ERRORS: tuple[type[EngineError], ...] = (EngineLost, EngineUnavailable, EngineError)
"""The more special first."""


def describe(call: int, error: BaseException, trace: str) -> Failed:
    """An exception as a frame; `trace` goes with those that nobody expects."""
    for kind in _ERRORS:
        if isinstance(error, kind):
            return Failed(call, kind.__name__, error.message, error.code, error.retry_after_s)
    if is_lost(error):
        return Failed(call, EngineLost.__name__, f"the device stopped working: {error}")
    return Failed(call, WorkerFault.__name__, trace)


def revive(failed: Failed) -> EngineError | WorkerFault:
    """The exception that a frame describes."""
    if failed.kind == EngineLost.__name__:
        return EngineLost(failed.message)
    if failed.kind == EngineUnavailable.__name__:
        return EngineUnavailable(failed.message)
    if failed.kind == EngineError.__name__:
        return EngineError(failed.message, code=failed.code, retry_after_s=failed.retry_after_s)
    return WorkerFault(failed.message)


def pack(frame: Order | Report) -> bytes:
    """A frame for `Connection.send_bytes`; `Connection.recv` gives it back."""
    return pickle.dumps(frame, protocol=pickle.HIGHEST_PROTOCOL)
