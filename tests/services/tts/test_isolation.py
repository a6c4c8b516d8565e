"""The service with an engine in a process of its own that is killed while callers listen."""

from collections.abc import Iterator

import httpx
import psutil
import pytest

from services.shared.protocol.base import Error, ErrorCode
from services.shared.runtime.config import ServerConfig
from services.tts.app import create_app
from services.tts.config import (
    EnginesConfig,
    FakeEngineConfig,
    IsolationConfig,
    PiperEngineConfig,
    TtsConfig,
)
from services.tts.messages import AudioFinished, Close, End, Flush, Start, Text
from tests.services.serving import LiveService, eventually, serving, until
from tests.services.tts.client import heard_tones, session


@pytest.fixture
def service(request: pytest.FixtureRequest) -> Iterator[LiveService]:
    """With the isolation of the test's parameters."""
    config = TtsConfig(
        engines=EnginesConfig(
            piper=PiperEngineConfig(enabled=False),
            fake=FakeEngineConfig(enabled=True, isolated=True, delay_ms=50),
        ),
        # A busy machine takes long for a restart.
        isolation=IsolationConfig(**{"wait_s": 30.0, **getattr(request, "param", {})}),
        server=ServerConfig(drain_s=0.5),
    )
    with serving(create_app(config), config.limits, config.server) as running:
        yield running


def kill_worker() -> None:
    [worker] = [
        each for each in psutil.Process().children() if "worker" in " ".join(each.cmdline())
    ]
    worker.kill()


def readiness(service: LiveService) -> tuple[int, dict[str, object]]:
    answer = httpx.get(f"{service.http}/health/ready")
    return answer.status_code, answer.json()


async def test_a_killed_engine_fails_its_context_and_the_session_speaks_on(
    service: LiveService,
) -> None:
    async with session(service.ws) as speaker:
        await speaker.send(Start(context_id="a"), Text(text="first " * 40), Flush())
        await eventually(lambda: bool(psutil.Process().children()))
        while not isinstance(await speaker.next(), bytes):
            pass
        kill_worker()
        error = await speaker.hear_error(ErrorCode.ENGINE_FAILED)
        assert error.context_id == "a"
        assert error.retryable
        assert "signal 9" in error.message
        # This one waits for the restart.
        await speaker.send(Start(context_id="b"), Text(text="fine"), End(), Close())
        assert await speaker.closed() == 1000
    assert heard_tones(speaker.audio("b"), ["fine"])
    assert [each.context_id for each in speaker.all(AudioFinished)] == ["b"]
    assert service.metric("voice_tts_engine_restarts_total", engine="fake") == 1
    assert readiness(service)[0] == 200


async def test_a_text_with_which_the_process_dies_each_time_is_refused_for_good(
    service: LiveService,
) -> None:
    text = "this sentence has some words to say."
    errors: list[Error] = []
    async with session(service.ws) as speaker:
        for number in range(4):  # a kill between two pieces blames nobody
            await speaker.send(Start(context_id=f"a{number}"), Text(text=text), Flush())
            while not isinstance(heard := await speaker.next(), bytes | Error):
                pass
            if isinstance(heard, bytes):
                kill_worker()
                heard = await speaker.hear_error(ErrorCode.ENGINE_FAILED)
            errors.append(heard)
            if not heard.retryable:
                break
        await speaker.send(Start(context_id="b"), Text(text="fine"), End(), Close())
        assert await speaker.closed() == 1000
    assert [each.retryable for each in errors[-3:]] == [True, True, False]
    assert errors[-1].code is ErrorCode.ENGINE_FAILED
    assert "change the text" in errors[-1].message
    assert heard_tones(speaker.audio("b"), ["fine"])
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{service.http}/v1/synthesize", json={"text": text})
    assert (answer.status_code, answer.json()["retryable"]) == (502, False)


@pytest.mark.parametrize("service", [{"max_restarts": 0}], indirect=True)
def test_an_engine_that_stays_down_makes_the_service_unready_but_not_dead(
    service: LiveService,
) -> None:
    assert readiness(service)[0] == 200
    kill_worker()
    until(lambda: readiness(service)[0] == 503)
    body = readiness(service)[1]
    assert body["phase"] == "ready"
    assert body["troubles"] == [
        "fake: its process was lost 1 times within 600 s and stays down (signal 9)"
    ]
    assert httpx.get(f"{service.http}/health/live").status_code == 200
    answer = httpx.post(f"{service.http}/v1/synthesize", json={"text": "hello"})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "60"
    assert answer.json()["code"] == ErrorCode.ENGINE_RESTARTING
