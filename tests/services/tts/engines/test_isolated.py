"""An engine in a process of its own: nobody notices, until the process is lost."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import psutil
import pytest

from services.shared.protocol.base import ErrorCode
from services.tts.config import IsolationConfig
from services.tts.engines.base import (
    Conditioning,
    EngineError,
    EngineLost,
    EngineUnavailable,
    SynthesisRequest,
)
from services.tts.engines.fake import FakeEngine
from services.tts.engines.frames import WorkerFault
from services.tts.engines.isolated import IsolatedEngine
from services.tts.speakers import SpeechStream
from tests.services.serving import until
from tests.services.tts.engines.unruly import UnrulyEngine

POLICY = IsolationConfig(
    load_s=20, piece_s=5, wait_s=10, max_restarts=3, window_s=600, backoff_s=0.05, stop_s=5
)

Start = Callable[..., IsolatedEngine]


@pytest.fixture
def start() -> Iterator[Start]:
    """Load an unruly engine: its arguments, and changes of the policy by `policy`."""
    with ExitStack() as stack:

        def load(
            policy: IsolationConfig = POLICY,
            restarted: Callable[[], None] = lambda: None,
            **arguments: Any,
        ) -> IsolatedEngine:
            engine = IsolatedEngine(partial(UnrulyEngine, **arguments), policy, restarted=restarted)
            stack.callback(engine.close)
            engine.load()
            return engine

        yield load


def ask(text: str) -> SynthesisRequest:
    return SynthesisRequest(text, "fake-en")


def words(engine: IsolatedEngine, text: str) -> list[str]:
    return [piece.words[0].word for piece in engine.synthesize(ask(text))]


def worker_of(engine: IsolatedEngine) -> psutil.Process:
    assert engine._worker is not None
    return psutil.Process(engine._worker.pid)


def test_it_says_of_itself_what_the_engine_says(start: Start) -> None:
    engine, alone = start(lanes=3), UnrulyEngine(lanes=3)
    assert engine.name == alone.name
    assert engine.capabilities == alone.capabilities
    assert engine.voices() == alone.voices()
    assert engine.conditioning_version == alone.conditioning_version
    assert engine.trouble() is None
    assert worker_of(engine).pid != os.getpid()


def test_what_can_be_known_before_loading_is_known() -> None:
    engine = IsolatedEngine(partial(UnrulyEngine, lanes=2), POLICY)
    assert (engine.name, engine.capabilities.lanes) == ("fake", 2)
    assert engine.trouble() == "fake: being loaded"


def test_an_engine_that_cannot_be_loaded_says_why(start: Start) -> None:
    with pytest.raises(EngineUnavailable, match="install torch"):
        start(refusal="no torch: install torch")


def test_a_process_that_dies_while_loading_is_not_tried_again(start: Start, tmp_path: Path) -> None:
    fuse = tmp_path / "fuse"
    fuse.touch()
    with pytest.raises(EngineUnavailable, match=r"ended while loading \(signal 9\)"):
        start(fuse=fuse)


def test_loading_has_a_time_limit(start: Start) -> None:
    with pytest.raises(EngineUnavailable, match=r"not loaded within 0\.5 s"):
        start(POLICY.model_copy(update={"load_s": 0.5}), load_s=30.0)


@pytest.mark.parametrize("word", ["DIE", "LOST", "CUDA"])
def test_a_lost_process_fails_what_it_was_speaking_and_is_restarted(
    start: Start, word: str
) -> None:
    restarts = list[int]()
    engine = start(restarted=lambda: restarts.append(1))
    begun_before = engine.synthesize(ask("one two"))
    assert next(begun_before).words[0].word == "one"
    old = worker_of(engine)
    stream = engine.synthesize(ask(f"good {word} never"))
    assert next(stream).words[0].word == "good"
    with pytest.raises(EngineLost, match=r"signal 9|device-side assert|illegal memory") as caught:
        next(stream)
    assert caught.value.code is ErrorCode.ENGINE_FAILED
    assert caught.value.retryable
    assert words(engine, "hello again") == ["hello", "again"], "this one waited for the restart"
    with pytest.raises(EngineLost):
        next(begun_before)
    assert worker_of(engine).pid != old.pid
    assert not old.is_running()
    assert engine.trouble() is None
    assert restarts == [1]


@pytest.mark.real_time
def test_a_killed_process_is_noticed_while_idle(start: Start) -> None:
    engine = start(load_s=0.5)
    old = worker_of(engine)
    old.kill()
    until(lambda: engine.trouble() is not None, 5)
    assert engine.trouble() == "fake: its process is being restarted (signal 9)"
    until(lambda: engine.trouble() is None, 10)
    assert words(engine, "hello") == ["hello"]


@pytest.mark.parametrize("word", ["STOP", "HANG"])
def test_a_stuck_process_is_ended(start: Start, word: str) -> None:
    engine = start(POLICY.model_copy(update={"piece_s": 0.5}))
    begun = time.monotonic()
    with pytest.raises(EngineLost, match=r"no answer within 0\.5 s"):
        words(engine, word)
    assert time.monotonic() - begun < 4.5, "which is the limit of others"
    assert words(engine, "hello") == ["hello"]


@pytest.mark.real_time
def test_a_request_larger_than_the_pipe_to_a_stopped_process_blocks_nobody(start: Start) -> None:
    engine = start(POLICY.model_copy(update={"piece_s": 0.5}))
    worker_of(engine).suspend()
    large = Conditioning("a", "fake-1", {"hertz": np.ones(1 << 20)})
    stream = SpeechStream(engine, SynthesisRequest("hello", "fake-en", conditioning=large))
    stepping = ThreadPoolExecutor(1).submit(stream.step)
    time.sleep(0.1)
    begun = time.monotonic()
    stream.cancel()  # on the event loop, in production
    assert time.monotonic() - begun < 0.15
    assert stepping.result(5) is None
    assert words(engine, "hello") == ["hello"]


@pytest.mark.real_time
def test_who_comes_while_it_restarts_waits_only_so_long(start: Start) -> None:
    engine = start(POLICY.model_copy(update={"wait_s": 0.3}), load_s=1.0)
    worker_of(engine).kill()
    until(lambda: engine.trouble() is not None, 5)
    waited = list[float]()
    for _ in range(2):
        begun = time.monotonic()
        with pytest.raises(EngineError, match="being restarted") as caught:
            words(engine, "hello")
        waited.append(time.monotonic() - begun)
        assert caught.value.code is ErrorCode.ENGINE_RESTARTING
        assert caught.value.retry_after_s == 2
    assert 0.1 < waited[0] < 1.0
    assert waited[1] < 0.15, "the bound counts from the loss, not from the request"


@pytest.mark.real_time
def test_who_waits_for_the_restart_can_be_cancelled(start: Start) -> None:
    engine = start(load_s=1.5)
    worker_of(engine).kill()
    until(lambda: engine.trouble() is not None, 5)
    stream = SpeechStream(engine, ask("hello"))
    stepping = ThreadPoolExecutor(1).submit(stream.step)
    time.sleep(0.1)
    begun = time.monotonic()
    stream.cancel()
    assert stepping.result(5) is None
    assert time.monotonic() - begun < 0.2


def test_a_process_that_is_lost_again_and_again_stays_down(start: Start) -> None:
    restarts = list[int]()
    engine = start(restarted=lambda: restarts.append(1))
    for number in range(4):
        with pytest.raises(EngineLost):
            words(engine, f"{number} DIE")
    until(lambda: "stays down" in (engine.trouble() or ""), 15)
    assert len(restarts) == 3
    with pytest.raises(EngineError, match="lost 4 times within 600 s") as caught:
        words(engine, "hello")
    assert (caught.value.code, caught.value.retry_after_s) == (ErrorCode.ENGINE_RESTARTING, 60)


def test_a_text_that_ends_the_process_each_time_is_refused(start: Start) -> None:
    restarts = list[int]()
    engine = start(restarted=lambda: restarts.append(1))
    for _ in range(2):
        with pytest.raises(EngineLost):
            words(engine, "good DIE")
    for _ in range(10):
        with pytest.raises(EngineError, match="change the text or the voice") as caught:
            words(engine, "good DIE")
        assert caught.value.code is ErrorCode.ENGINE_FAILED
        assert not caught.value.retryable
    assert words(engine, "good day") == ["good", "day"], "others are served"
    assert len(restarts) == 2


def test_the_conditioning_of_a_voice_has_its_own_limit(start: Start) -> None:
    engine = start(POLICY.model_copy(update={"condition_s": 0.3}))
    worker_of(engine).suspend()
    with pytest.raises(EngineLost, match=r"no answer within 0\.3 s"):
        engine.condition(np.ones(1600, dtype=np.float32), 16_000)
    assert words(engine, "hello") == ["hello"]


def test_a_restart_that_fails_counts_as_a_loss(start: Start, tmp_path: Path) -> None:
    fuse = tmp_path / "fuse"
    engine = start(fuse=fuse)
    fuse.touch()
    worker_of(engine).kill()
    until(lambda: "stays down" in (engine.trouble() or ""), 45)


@pytest.mark.parametrize(
    ("word", "kind", "told"),
    [
        ("REFUSE", EngineError, "no such thing"),
        ("FAIL", EngineError, "told to fail"),
        ("CRASH", WorkerFault, "RuntimeError: the fake engine was told to crash"),
        ("ODD", WorkerFault, "needed 1"),
    ],
)
def test_errors_survive_the_border_and_hurt_nobody_else(
    start: Start, word: str, kind: type[Exception], told: str
) -> None:
    engine = start()
    other = engine.synthesize(ask("one two"))
    next(other)
    with pytest.raises(kind, match=told) as caught:
        words(engine, word)
    assert type(caught.value) is kind
    if word == "REFUSE":
        assert caught.value.code is ErrorCode.UNSUPPORTED_LANGUAGE  # type: ignore[attr-defined]
    assert [piece.words[0].word for piece in other] == ["two"]


@pytest.mark.real_time
def test_a_cancel_reaches_the_run_that_is_under_way(start: Start) -> None:
    engine = start()
    stream = SpeechStream(engine, ask("SLOW"))
    with ThreadPoolExecutor(1) as lane:
        stepping = lane.submit(stream.step)
        time.sleep(0.2)
        begun = time.monotonic()
        stream.cancel()
        assert stepping.result(5) is None
    assert time.monotonic() - begun < 0.15
    assert stream.step() is None
    assert words(engine, "hello") == ["hello"]


@pytest.mark.real_time
def test_lanes_run_side_by_side(start: Start) -> None:
    engine = start(lanes=2)
    slow = SpeechStream(engine, ask("SLOW"))
    with ThreadPoolExecutor(1) as lane:
        stepping = lane.submit(slow.step)
        time.sleep(0.2)
        begun = time.monotonic()
        assert words(engine, "one two three") == ["one", "two", "three"]
        assert time.monotonic() - begun < 1
        slow.cancel()
        assert stepping.result(5) is None


def test_streams_of_several_threads_get_each_their_own_audio(start: Start) -> None:
    engine, alone = start(lanes=4), FakeEngine()

    def speak(number: int) -> bool:
        text = " ".join(f"word{number}x{index}" for index in range(20))
        pieces = zip(engine.synthesize(ask(text)), alone.synthesize(ask(text)), strict=True)
        return all(np.array_equal(mine.samples, true.samples) for mine, true in pieces)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(speak, range(12)))


def test_closed_streams_leave_nothing_in_the_process(start: Start) -> None:
    engine = start()
    before = worker_of(engine).num_threads()
    for _ in range(300):
        stream = engine.synthesize(ask("one two"))
        next(stream)
        stream.close()
    assert words(engine, "hello") == ["hello"]
    assert worker_of(engine).num_threads() <= before + 1


def test_voices_are_cloned_in_the_process_and_travel_with_requests(start: Start) -> None:
    engine, alone = start(), UnrulyEngine()
    tone = np.sin(2 * np.pi * 200 * np.arange(16_000) / 16_000).astype(np.float32)
    tensors = engine.condition(tone, 16_000)
    expected = alone.condition(tone, 16_000)
    assert {name: each.tolist() for name, each in tensors.items()} == {
        name: each.tolist() for name, each in expected.items()
    }
    frozen = MappingProxyType(tensors)  # which no pickle takes
    voice = Conditioning("mine", engine.conditioning_version, frozen)
    request = SynthesisRequest("hello", "fake-en", conditioning=voice)
    [piece], [true] = engine.synthesize(request), alone.synthesize(request)
    np.testing.assert_array_equal(piece.samples, true.samples)
    with pytest.raises(EngineError, match="empty") as caught:
        engine.condition(np.zeros(0, dtype=np.float32), 16_000)
    assert caught.value.code is ErrorCode.INVALID_AUDIO


def test_an_engine_that_cannot_clone_refuses_to() -> None:
    engine = IsolatedEngine(FakeEngine, POLICY)
    with pytest.raises(EngineError, match="cannot clone"):
        engine.condition(np.zeros(16_000, dtype=np.float32), 16_000)


def test_the_process_ends_with_the_engine(start: Start) -> None:
    engine = start()
    process = worker_of(engine)
    engine.close()
    assert not process.is_running()
    engine.close()
    with pytest.raises(EngineError, match="shutting down|restarted"):
        words(engine, "hello")


def test_closing_while_it_loads_ends_the_loading() -> None:
    engine = IsolatedEngine(partial(UnrulyEngine, load_s=30.0), POLICY)
    failures = list[EngineUnavailable]()

    def load() -> None:
        try:
            engine.load()
        except EngineUnavailable as error:
            failures.append(error)

    loading = threading.Thread(target=load)
    loading.start()
    until(lambda: engine._starting is not None, 5)
    begun = time.monotonic()
    engine.close()
    loading.join(15)
    assert time.monotonic() - begun < 15
    assert len(failures) == 1


def test_the_process_dies_with_its_host() -> None:
    program = """
import sys, time
from functools import partial
from services.tts.config import IsolationConfig
from services.tts.engines.isolated import IsolatedEngine
from tests.services.tts.engines.unruly import UnrulyEngine
engine = IsolatedEngine(UnrulyEngine, IsolationConfig())
engine.load()
print(engine._worker.pid, flush=True)
time.sleep(60)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    host = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert host.stdout is not None
    with host, host.stdout:
        # Logs go to standard output, too, where nobody configured them.
        worker = next(psutil.Process(int(line)) for line in host.stdout if line.strip().isdigit())
        worker.suspend()  # it may be stuck, too
        host.send_signal(signal.SIGKILL)
    until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, 5)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_many_restarts_leave_nothing_behind(start: Start) -> None:
    engine = start(POLICY.model_copy(update={"max_restarts": 1000, "backoff_s": 0.0}))
    us = psutil.Process()
    numbers = itertools.count()  # the same text would not be spoken a third time

    def lose() -> None:
        stream = engine.synthesize(ask(f"{next(numbers)} DIE"))
        next(stream)
        with pytest.raises(EngineLost):
            next(stream)
        assert words(engine, "hello") == ["hello"]

    for _ in range(3):
        lose()
    shared = Path("/dev/shm")
    segments = len(list(shared.iterdir())) if shared.is_dir() else 0
    before = (us.num_fds(), threading.active_count(), len(us.children()))
    for _ in range(30):
        lose()
    assert (us.num_fds(), threading.active_count(), len(us.children())) == before
    assert not any(child.status() == psutil.STATUS_ZOMBIE for child in us.children())
    if shared.is_dir():
        assert len(list(shared.iterdir())) <= segments
