"""The host's end of an engine's process: starts it, asks it, hears of its death.

The thread that started the process reads what it says; another one writes, because a stopped
process would block whoever writes to it. So neither an engine's lane nor the event loop ever waits
for the pipe.
"""

import contextlib
import itertools
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from queue import SimpleQueue
from typing import Any

import structlog

from services.tts.engines.base import EngineLost, EngineUnavailable
from services.tts.engines.frames import Answer, Failed, Order, Ready, Spec, Stop, pack, revive

_REAP_S = 10.0
"""How long the kernel may take to end a killed process; a driver that hangs may keep it."""

log = structlog.get_logger(__name__)


class WorkerProcess:
    """One process with one engine in it.

    Args:
        spec: what it is for.
        name: of the engine, for sentences.
        threads: for the libraries that take their number from the environment.
    """

    def __init__(self, spec: Spec, name: str, threads: int = 1) -> None:
        self._name = name
        self._why: str | None = None
        self._calls: dict[int, Future[Any]] = {}
        self._numbers = itertools.count(1)
        self._state = threading.Lock()
        self._outbox: SimpleQueue[bytes | None] = SimpleQueue()
        self._connection, theirs = multiprocessing.Pipe()
        try:
            self._process = _spawn(theirs.fileno(), threads)
        except OSError:
            self._connection.close()
            raise
        finally:
            theirs.close()
        self._writer = threading.Thread(target=self._write, name=f"{name}-writer", daemon=True)
        self._writer.start()
        self.tell(spec)

    @property
    def pid(self) -> int:
        return self._process.pid

    # The supervisor's side: one thread from beginning to end.

    def wait_ready(self, limit_s: float) -> Ready:
        """Until the engine has loaded.

        Raises:
            EngineLost: it died, or took too long.
            EngineUnavailable: the engine says why it cannot be loaded.
        """
        try:
            if not self._connection.poll(limit_s):
                self.kill(f"not loaded within {limit_s:g} s")
            report = self._connection.recv()
        except (EOFError, OSError):
            raise EngineLost(f"it ended while loading ({self._reap()})") from None
        if isinstance(report, Ready):
            return report
        error = revive(report)
        if isinstance(error, EngineUnavailable):
            raise error
        log.error("an engine failed to load", engine=self._name, reason=str(error))
        raise EngineLost(str(error).strip().rsplit("\n", 1)[-1])

    def serve(self) -> str:
        """Deliver answers until the process is gone; gives the reason."""
        try:
            while True:
                self._deliver(self._connection.recv())
        except Exception as error:  # noqa: BLE001 - a frame cut off by death unpickles to anything
            if not isinstance(error, EOFError | OSError):
                self.kill(f"it said what cannot be read: {error!r}")
            return self._reap()

    def end(self) -> None:
        """Free everything; fails what is still waited for. The process is killed if it lives."""
        why = self._reap()
        with self._state:
            calls, self._calls = self._calls, {}
        for call in calls.values():
            call.set_exception(self._loss(why))
        self._outbox.put(None)
        self._writer.join(_REAP_S)
        self._connection.close()

    # Anybody's side.

    def ask(self, order: Callable[[int], Order], limit_s: float) -> Any:
        """The answer to a call; blocks.

        Args:
            order: makes the frame from the call's number.
            limit_s: a process that takes longer is ended.

        Raises:
            EngineLost: the process is gone.
            EngineError, WorkerFault: what the engine raised.
        """
        number, future = next(self._numbers), Future[Any]()
        frame = pack(order(number))
        with self._state:
            if self._why is not None:
                raise self._loss(self._why)
            self._calls[number] = future
        self._outbox.put(frame)
        if not wait_for([future], limit_s).done:
            self.kill(f"no answer within {limit_s:g} s")
            if not wait_for([future], _REAP_S).done:
                raise self._loss("it cannot even be ended")
        return future.result()

    def tell(self, order: Order) -> None:
        """Say something that needs no answer. Never blocks, never fails."""
        self._outbox.put(pack(order))

    def kill(self, why: str) -> None:
        """End it now; `serve` then returns the reason."""
        with self._state:
            if self._why is None:
                self._why = why
        self._process.kill()

    def stop(self, limit_s: float) -> None:
        """Let it end by itself, or kill it."""
        with self._state:
            if self._why is None:
                self._why = "the service is shutting down"
        self.tell(Stop())
        try:
            self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            log.warning("an engine's process did not stop", engine=self._name, pid=self.pid)
            self._process.kill()

    def _deliver(self, report: object) -> None:
        if not isinstance(report, Answer | Failed):
            return
        error = revive(report) if isinstance(report, Failed) else None
        if isinstance(error, EngineLost):  # `end` fails this call with the others
            self.kill(error.message)
            return
        with self._state:
            future = self._calls.pop(report.call, None)
        if future is None:
            return
        if isinstance(report, Answer):
            future.set_result(report.value)
        else:
            future.set_exception(error)

    def _loss(self, why: str) -> EngineLost:
        return EngineLost(
            f"the process of the engine {self._name} was lost ({why}), and with it what it was "
            "speaking; ask again in a moment"
        )

    def _reap(self) -> str:
        """Make sure that the process is gone; says why it is."""
        code: int | None = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(_REAP_S)
        if code is None:
            self._process.kill()
            log.error("an engine's process cannot be ended", engine=self._name, pid=self.pid)
        with self._state:
            if self._why is None:
                self._why = _ending(code)
            return self._why

    def _write(self) -> None:
        for frame in iter(self._outbox.get, None):
            try:
                self._connection.send_bytes(frame)
            except OSError:
                return


def _ending(code: int | None) -> str:
    if code is None:
        return "it hangs"
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _spawn(descriptor: int, threads: int) -> "subprocess.Popen[bytes]":
    """A fresh interpreter with this one's modules; a fork would copy locks and a CUDA context."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "services.tts.engines.worker", str(descriptor)],
        stdin=subprocess.DEVNULL,
        pass_fds=[descriptor],
        env=environment,
    )
