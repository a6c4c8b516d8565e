"""An engine whose words do to its process what bad luck does. Importable by a worker process."""

import os
import signal
import threading
import time
from collections.abc import Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from services.shared.protocol.base import ErrorCode
from services.tts.engines.base import (
    AudioPiece,
    EngineError,
    EngineLost,
    EngineUnavailable,
    Floats,
    SynthesisRequest,
)
from services.tts.engines.fake import FakeEngine
from services.tts.engines.interrupt import interruptible


class Unpicklable(Exception):
    """What some library might raise."""

    def __init__(self, *, needed: object) -> None:
        super().__init__(f"needed {needed}")
        self.lock = threading.Lock()


class UnrulyEngine(FakeEngine):
    """Speaks like the fake engine, but for the words of `misbehave`.

    Args:
        lanes: streams at a time.
        fuse: a file; while it is there, loading ends the process.
        refusal: what loading is refused with.
    """

    def __init__(
        self, *, lanes: int = 1, fuse: Path | None = None, refusal: str = "", load_s: float = 0.0
    ) -> None:
        super().__init__(cloning=True)
        self.capabilities = replace(self.capabilities, lanes=lanes)
        self._fuse = fuse
        self._refusal = refusal
        self._load_s = load_s

    def load(self) -> None:
        time.sleep(self._load_s)
        if self._refusal:
            raise EngineUnavailable(self._refusal)
        if self._fuse is not None and self._fuse.exists():
            os.kill(os.getpid(), signal.SIGKILL)

    def synthesize(self, request: SynthesisRequest) -> Generator[AudioPiece, None, None]:
        for piece in super().synthesize(request):
            misbehave(piece.words[0].word)
            yield piece

    def condition(self, reference: Floats, sample_rate: int) -> Mapping[str, npt.NDArray[Any]]:
        if not len(reference):
            raise EngineError("the reference is empty", code=ErrorCode.INVALID_AUDIO)
        return super().condition(reference, sample_rate)


def misbehave(word: str) -> None:
    """Do what the word says, in this process."""
    match word:
        case "DIE":
            os.kill(os.getpid(), signal.SIGKILL)
        case "STOP":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "LOST":
            raise EngineLost("CUDA error: device-side assert triggered")
        case "REFUSE":
            raise EngineError("no such thing", code=ErrorCode.UNSUPPORTED_LANGUAGE)
        case "ODD":
            raise Unpicklable(needed=1)
        case "CUDA":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        case "HANG":
            time.sleep(60)
        case "SLOW":
            ended = threading.Event()
            with interruptible(ended.set):
                if ended.wait(10):
                    raise RuntimeError("the run was ended")
