"""The process of an isolated engine: `python -m services.tts.engines.worker FD`.

It owns the engine as the service would: as many threads enter it as it has lanes. The main thread
only reads what the host says, so that an interrupt is heard while models run, and ends the process
at once when the host is gone.
"""

import ctypes
import faulthandler
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import structlog

from services.shared.runtime.logs import configure_logs
from services.tts.engines.base import AudioPiece, SynthesisRequest, TtsEngine
from services.tts.engines.frames import (
    Answer,
    CloseStream,
    InterruptStream,
    MakeConditioning,
    NextPiece,
    Ready,
    Spec,
    Stop,
    describe,
    pack,
)
from services.tts.engines.interrupt import Interrupt, interrupted_by

_PR_SET_PDEATHSIG = 1
"""Linux's prctl.h."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Stream:
    request: SynthesisRequest
    pieces: Generator[AudioPiece, None, None] | None = None
    interrupt: Interrupt = field(default_factory=Interrupt)

    def step(self, engine: TtsEngine) -> AudioPiece | None:
        """The next piece; None at the end, which may be an interrupt's."""
        if self.interrupt.raised:
            return None
        if self.pieces is None:
            self.pieces = engine.synthesize(self.request)
        try:
            with interrupted_by(self.interrupt):
                piece = next(self.pieces, None)
        except Exception:
            if not self.interrupt.raised:
                raise
            return None
        return None if self.interrupt.raised else piece

    def close(self) -> None:
        if self.pieces is not None:
            self.pieces.close()


class Worker:
    """Serves one engine to the host at the other end of `connection`."""

    def __init__(self, engine: TtsEngine, connection: Connection) -> None:
        self._engine = engine
        self._connection = connection
        self._sending = threading.Lock()
        self._streams: dict[int, _Stream] = {}
        """Streams come and go in the main thread only."""
        self._lanes = ThreadPoolExecutor(engine.capabilities.lanes, thread_name_prefix="lane")

    def run(self) -> None:
        """Until `Stop`. Raises EOFError or OSError when the host is gone."""
        self._lanes.submit(self._load)
        while not isinstance(order := self._connection.recv(), Stop):
            self._follow(order)
        self._lanes.shutdown(wait=True, cancel_futures=True)
        self._engine.close()

    def _follow(self, order: object) -> None:
        match order:
            case NextPiece(call, number, request):
                if request is not None:
                    self._streams[number] = _Stream(request)
                stream = self._streams[number]
                self._lanes.submit(self._answer, call, lambda: stream.step(self._engine))
            case MakeConditioning(call, reference, sample_rate):
                self._lanes.submit(
                    self._answer, call, lambda: self._condition(reference, sample_rate)
                )
            case InterruptStream(number) if number in self._streams:
                self._streams[number].interrupt.raise_()
            case CloseStream(number) if number in self._streams:
                self._lanes.submit(self._close, self._streams.pop(number))

    def _load(self) -> None:
        try:
            self._engine.load()
            self._engine.warm_up()
            version = getattr(self._engine, "conditioning_version", "")
            frame = pack(Ready(self._engine.capabilities, self._engine.voices(), version))
        except BaseException as error:  # noqa: BLE001 - whatever it is, the host must hear why
            frame = pack(describe(0, error, traceback.format_exc()))
        self._send(frame)

    def _answer(self, call: int, work: Callable[[], Any]) -> None:
        try:
            frame = pack(Answer(call, work()))
        except BaseException as error:  # noqa: BLE001 - whatever an engine raises must reach its caller only
            frame = pack(describe(call, error, traceback.format_exc()))
        self._send(frame)

    def _condition(self, reference: Any, sample_rate: int) -> dict[str, Any]:
        tensors = self._engine.condition(reference, sample_rate)  # type: ignore[attr-defined]
        return {name: np.asarray(tensor) for name, tensor in tensors.items()}

    def _close(self, stream: _Stream) -> None:
        try:
            stream.close()
        except Exception as error:
            log.warning("closing a stream failed", engine=self._engine.name, exc_info=error)

    def _send(self, frame: bytes) -> None:
        with self._sending:
            self._connection.send_bytes(frame)


def main() -> None:
    """Serve until the host says so or is gone."""
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)  # a grandchild would keep it open
    _settle()
    connection = Connection(descriptor)
    try:
        spec: Spec = connection.recv()
        configure_logs(spec.log, f"tts/{spec.name}")
        Worker(spec.make(), connection).run()
    except (EOFError, OSError):
        os._exit(1)  # a model may be running in a thread: nobody wants its result any more
    os._exit(0)  # the libraries' own clean-up at exit is known to hang


def _settle() -> None:
    """Let the host decide about the end: a Ctrl-C meant for it must not kill live streams."""
    faulthandler.enable()
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()
