"""An engine that runs in a process of its own, so that its crash reaches only who it was serving.

It is an engine like any other: nobody behind the scheduler notices. A process that dies, hangs or
says that it cannot go on (`EngineLost`) fails the requests at hand with a retryable error, and is
started again by the one thread that owns it; `restarts.py` says when, and when no more.
"""

import itertools
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy.typing as npt
import structlog

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
from services.tts.engines.frames import (
    CloseStream,
    InterruptStream,
    MakeConditioning,
    NextPiece,
    Ready,
    Spec,
)
from services.tts.engines.interrupt import interruptible
from services.tts.engines.quarantine import Quarantine, key_of
from services.tts.engines.restarts import RestartPolicy, Restarts, State
from services.tts.engines.worker_process import WorkerProcess

log = structlog.get_logger(__name__)


class IsolationPolicy(RestartPolicy, Protocol):
    """`services.tts.config.IsolationConfig` says what each means."""

    @property
    def load_s(self) -> float: ...
    @property
    def piece_s(self) -> float: ...
    @property
    def condition_s(self) -> float: ...
    @property
    def stop_s(self) -> float: ...


class IsolatedEngine:
    """Hosts another engine in a child process.

    Args:
        make: makes that engine; it is pickled, and called here, too, to learn what the engine says
            of itself before it is loaded.
        threads: of its numeric libraries.
        restarted: told each time that the process has to be started again.
    """

    def __init__(
        self,
        make: Callable[[], TtsEngine],
        policy: IsolationPolicy,
        *,
        threads: int = 1,
        log_config: LogConfig | None = None,
        restarted: Callable[[], None] = lambda: None,
    ) -> None:
        unloaded = make()
        self.name = unloaded.name
        self._policy = policy
        self._spec = Spec(self.name, make, log_config or LogConfig())
        self._threads = threads
        self._restarted = restarted
        self._restarts = Restarts(self.name, policy)
        self._quarantine = Quarantine(policy.window_s)
        self._changed = threading.Condition()
        """Guards what follows."""
        self._worker: WorkerProcess | None = None
        """The one that is ready."""
        self._starting: WorkerProcess | None = None
        self._said = Ready(unloaded.capabilities, (), "")
        self._failure: str | None = None
        self._closing = False
        self._streams = itertools.count(1)
        self._supervisor: threading.Thread | None = None

    @property
    def capabilities(self) -> Capabilities:
        return self._said.capabilities

    @property
    def conditioning_version(self) -> str:
        """As `CloningEngine.conditioning_version`; empty where the engine does not clone."""
        return self._said.conditioning_version

    def load(self) -> None:
        """Start the process; it loads and warms up. Raises EngineUnavailable."""
        self._supervisor = threading.Thread(
            target=self._supervise, name=f"{self.name}-supervisor", daemon=True
        )
        self._supervisor.start()
        with self._changed:
            self._changed.wait_for(lambda: self._worker or self._failure or self._closing)
            if self._worker is None:
                raise EngineUnavailable(self._failure or f"{self.name} was told to stop")

    def warm_up(self) -> None:
        """The process has done so itself, as it does after each restart."""

    def voices(self) -> tuple[Voice, ...]:
        return self._said.voices

    def trouble(self) -> str | None:
        """Why the engine cannot serve just now; None: it can."""
        with self._changed:
            return self._restarts.trouble()

    def synthesize(self, request: SynthesisRequest) -> Generator[AudioPiece, None, None]:
        """As `TtsEngine.synthesize`.

        Raises:
            EngineLost: the process was lost while this was spoken.
            EngineError: also `engine_restarting`; not retryable where this very text is what the
                process was lost with again and again.
        """
        key = key_of(request)
        self._check_quarantine(key)
        worker = self._ready_worker()
        number = self._begin_work(key)
        first: SynthesisRequest | None = _portable(request)
        whole = False
        try:
            while (piece := self._next_piece(worker, number, first)) is not None:
                first = None
                yield piece
            whole = True
        finally:
            with self._changed:
                self._quarantine.end(number, whole=whole)
            worker.tell(CloseStream(number))

    def condition(self, reference: Floats, sample_rate: int) -> Mapping[str, npt.NDArray[Any]]:
        """As `CloningEngine.condition`; raises like `synthesize`."""
        if not self.capabilities.cloning:
            raise EngineError(f"the engine {self.name} cannot clone voices")
        worker = self._ready_worker()
        number = self._begin_work(None)
        try:
            tensors: Mapping[str, npt.NDArray[Any]] = worker.ask(
                lambda call: MakeConditioning(call, reference, sample_rate),
                self._policy.condition_s,
            )
        finally:
            with self._changed:
                self._quarantine.end(number)
        return tensors

    def close(self) -> None:
        """End the process. May come twice."""
        with self._changed:
            self._closing = True
            ready, loading = self._worker, self._starting
            self._changed.notify_all()
        if ready is not None:
            ready.stop(self._policy.stop_s)
        elif loading is not None:
            loading.kill("the service is shutting down")
        if self._supervisor is not None:
            self._supervisor.join()

    def _next_piece(
        self, worker: WorkerProcess, number: int, request: SynthesisRequest | None
    ) -> AudioPiece | None:
        with self._changed:
            self._quarantine.running(number, True)
        with interruptible(lambda: worker.tell(InterruptStream(number))):
            piece: AudioPiece | None = worker.ask(
                lambda call: NextPiece(call, number, request), self._policy.piece_s
            )
        with self._changed:
            self._quarantine.running(number, False)
        return piece

    def _begin_work(self, key: bytes | None) -> int:
        number = next(self._streams)
        with self._changed:
            self._quarantine.begin(number, key)
        return number

    def _check_quarantine(self, key: bytes) -> None:
        with self._changed:
            refused = self._quarantine.refuses(key, time.monotonic())
        if refused:
            raise EngineError(
                f"the process of the engine {self.name} was lost each time that it spoke this text "
                "in this voice; change the text or the voice",
                retryable=False,
            )

    def _ready_worker(self) -> WorkerProcess:
        """The process, waited for while it is being restarted. Raises `engine_restarting`."""
        given_up = False

        def give_up() -> None:
            nonlocal given_up
            with self._changed:
                given_up = True
                self._changed.notify_all()

        with interruptible(give_up), self._changed:
            patience_s = self._restarts.patience_s(time.monotonic())
            self._changed.wait_for(lambda: self._worker or self._closing or given_up, patience_s)
            if self._worker is None:
                raise EngineError(
                    self._restarts.trouble() or f"{self.name} is shutting down",
                    code=ErrorCode.ENGINE_RESTARTING,
                    retry_after_s=self._restarts.retry_after_s,
                )
            return self._worker

    # The supervisor's thread.

    def _supervise(self) -> None:
        delay_s: float | None = 0.0
        while delay_s is not None and not self._closed_within(delay_s):
            delay_s = self._outlive()

    def _outlive(self) -> float | None:
        """One process from its start to its end; gives how long to wait before the next one."""
        try:
            worker = WorkerProcess(self._spec, self.name, self._threads)
        except OSError as error:
            return self._note_end(f"no process: {error}")
        try:
            delay_s = self._note_end(self._host(worker))
        finally:
            worker.end()  # after the loss was noted: who hears of it may ask again at once
        return delay_s

    def _host(self, worker: WorkerProcess) -> str:
        """Until the process is lost; gives the reason."""
        with self._changed:
            self._starting = worker
            if self._closing:  # it was begun while `close` looked for one to stop
                worker.kill("the service is shutting down")
        begun = time.monotonic()
        try:
            said = worker.wait_ready(self._policy.load_s)
        except (EngineLost, EngineUnavailable) as error:
            worker.kill(error.message)
            return error.message
        seconds = round(time.monotonic() - begun, 1)
        log.info("engine's process is ready", engine=self.name, pid=worker.pid, seconds=seconds)
        self._begin(worker, said)
        return worker.serve()

    def _note_end(self, why: str) -> float | None:
        """The process is gone; what now?"""
        with self._changed:
            self._worker = self._starting = None
            self._quarantine.lost(time.monotonic())
            self._changed.notify_all()
            if self._closing:
                return None
            if self._restarts.state is State.STARTING:  # a restart would not mend it
                self._failure = f"the engine {self.name} cannot be started: {why}"
                return None
            delay_s = self._restarts.lost(time.monotonic(), why)
        self._tell_of_loss(why, delay_s)
        return delay_s

    def _begin(self, worker: WorkerProcess, said: Ready) -> None:
        with self._changed:
            self._said = said
            self._worker = worker
            self._restarts.ready(time.monotonic())
            self._changed.notify_all()

    def _closed_within(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._closing, seconds)

    def _tell_of_loss(self, why: str, delay_s: float | None) -> None:
        if delay_s is None:
            log.error("an engine stays down", engine=self.name, reason=why)
            return
        log.warning("an engine is restarted", engine=self.name, reason=why, delay_s=delay_s)
        self._restarted()


def _portable(request: SynthesisRequest) -> SynthesisRequest:
    """With tensors in a mapping that can be pickled."""
    if request.conditioning is None:
        return request
    tensors = dict(request.conditioning.tensors)
    return replace(request, conditioning=replace(request.conditioning, tensors=tensors))
