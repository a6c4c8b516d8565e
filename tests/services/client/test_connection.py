"""What refused clients are told, and how they are found in the services' logs."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus

import pytest
import structlog
from structlog.testing import capture_logs
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from services.asr.app import create_app as create_asr
from services.asr.messages import Ready, Start
from services.client.asr import open_asr
from services.client.connection import ServiceError, headers_for, refusal
from services.client.reconnect import Reconnect
from services.client.tts import open_tts
from services.shared.protocol.base import ErrorCode
from services.shared.protocol.codec import encode
from services.shared.runtime.config import LimitsConfig
from services.tts.app import create_app as create_tts
from services.tts.config import TtsConfig
from tests.services.asr.conftest import tones
from tests.services.serving import LiveService, eventually, serving
from tests.services.tts.conftest import tones as tts_tones

_READY = encode(Ready(session_id="s", protocol=1, model="m", languages=("en",)))
_REFUSAL = b'{"type":"error","code":"overloaded","message":"all taken","retryable":true}'


def _url(server: Server) -> str:
    return f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


async def _keep_silent(socket: ServerConnection) -> None:
    await socket.wait_closed()


@pytest.fixture(scope="module")
def tts() -> Iterator[LiveService]:
    config = TtsConfig(engines=tts_tones())
    with serving(create_tts(config), config.limits) as service:
        yield service


@pytest.fixture
def small_asr() -> Iterator[LiveService]:
    """With room for one."""
    config = tones(limits=LimitsConfig(max_sessions=1))
    with serving(create_asr(config), config.limits) as service:
        yield service


@pytest.mark.parametrize(
    ("told", "wait_s"),
    [
        ("2", 2.0),
        (" 86400 ", 86_400.0),
        ("0", 0.0),
        ("9" * 400, 999_999_999.0),
        ("", None),
        ("-1", None),
        ("soon", None),
        ("1.5", None),
        ("²", None),
        ("Sat, 21 Nov 99999999999999 21:00:00 GMT", None),
        ("Sat, 21 Nov 2026 21:00:00 +99999999999999", None),
    ],
)
def test_what_is_told_of_when_to_come_back(told: str, wait_s: float | None) -> None:
    error = refusal(503, _REFUSAL, {"Retry-After": told})
    assert (error.code, error.retryable, error.retry_after_s) == ("overloaded", True, wait_s)


@pytest.mark.parametrize(("ahead_s", "wait_s"), [(90, 90.0), (-90, 0.0)])
def test_it_may_be_a_date(ahead_s: int, wait_s: float) -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead_s), usegmt=True)
    error = refusal(502, b"<html>", {"Retry-After": at})
    assert error.code == "http"
    assert error.retry_after_s == pytest.approx(wait_s, abs=2)


async def test_who_is_told_two_times_to_wait_hears_why_all_the_same() -> None:
    def refuse(_connection: ServerConnection, _request: Request) -> Response:
        headers = Headers([("Retry-After", "2"), ("Retry-After", "5")])
        return Response(503, "Service Unavailable", headers, _REFUSAL)

    async with serve(_keep_silent, "127.0.0.1", 0, process_request=refuse) as server:
        with pytest.raises(ServiceError, match="all taken") as caught:
            async with open_tts(_url(server)):
                pass
    assert (caught.value.code, caught.value.retry_after_s) == ("overloaded", None)


def test_the_id_of_a_request_goes_along_with_the_key() -> None:
    assert headers_for("red", "call-7") == {
        "Authorization": "Bearer red",
        "X-Request-ID": "call-7",
    }
    assert headers_for(None, None) == {}


class Refusing:
    """An ASR service that loses its first connection and then refuses all, as it is told."""

    def __init__(self, retry_after: str) -> None:
        self._headers = Headers({"Retry-After": retry_after, "Content-Type": "application/json"})
        self.asked_at: list[float] = []

    def refuse(self, connection: ServerConnection, request: Request) -> Response | None:
        self.asked_at.append(time.monotonic())
        if len(self.asked_at) == 1:
            return None
        status = HTTPStatus.SERVICE_UNAVAILABLE
        return Response(status.value, status.phrase, self._headers, _REFUSAL)

    async def lose(self, socket: ServerConnection) -> None:
        await socket.send(_READY)
        await socket.recv()
        socket.transport.abort()


@asynccontextmanager
async def refusing(retry_after: str) -> AsyncIterator[tuple[str, Refusing]]:
    service = Refusing(retry_after)
    async with serve(service.lose, "127.0.0.1", 0, process_request=service.refuse) as server:
        yield _url(server), service


async def test_a_lost_session_comes_back_no_sooner_than_it_is_told() -> None:
    options = Reconnect(give_up_s=2.5, first_pause_s=0.01, longest_pause_s=0.02)
    async with refusing("1") as (url, service):
        with pytest.raises(ServiceError, match="all taken") as caught:
            async with open_asr(url, Start(), reconnect=options) as stream:
                async for _ in stream.events():
                    pass
    gaps = [b - a for a, b in zip(service.asked_at[1:], service.asked_at[2:], strict=False)]
    assert 1 <= len(gaps) <= 2 and all(gap >= 1.0 for gap in gaps), gaps
    assert caught.value.retry_after_s == 1.0


async def test_who_is_told_to_wait_longer_than_there_is_hope_gives_up_at_once() -> None:
    options = Reconnect(give_up_s=5.0, first_pause_s=0.01)
    async with refusing("60") as (url, service):
        began = time.monotonic()
        with pytest.raises(ServiceError, match="all taken") as caught:
            async with open_asr(url, Start(), reconnect=options) as stream:
                async for _ in stream.events():
                    pass
        assert time.monotonic() - began < 4.5
    assert len(service.asked_at) == 2
    assert (caught.value.code, caught.value.retry_after_s) == ("connection_lost", 60.0)


@pytest.mark.parametrize("code", [None, 1012])
async def test_a_service_that_goes_before_its_first_word_is_not_reached(code: int | None) -> None:
    async def vanish(socket: ServerConnection) -> None:
        if code is None:
            socket.transport.abort()
        else:
            await socket.close(code)

    async with serve(vanish, "127.0.0.1", 0) as server:
        url = _url(server)
        for opened in (
            open_asr(url, Start()),
            open_asr(url, Start(), reconnect=None),
            open_tts(url),
        ):
            with pytest.raises(ServiceError) as caught:
                async with opened:
                    pass
            assert (caught.value.code, caught.value.retryable) == ("unreachable", True)


async def test_a_service_that_says_nothing_is_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.client.connection.CONNECT_S", 0.2)
    async with serve(_keep_silent, "127.0.0.1", 0) as server:
        with pytest.raises(ServiceError, match="said nothing"):
            async with open_tts(_url(server)):
                pass


async def test_a_service_logs_a_session_under_the_id_that_its_client_gave(
    asr: LiveService, tts: LiveService
) -> None:
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as entries:
        async with open_asr(asr.ws, Start(), request_id="call-7"):
            pass
        async with open_asr(asr.ws, Start(), reconnect=None, request_id="call-8"):
            pass
        async with open_tts(tts.ws, request_id="call-9"):
            pass

        closed = "connection closed"
        await eventually(lambda: sum(entry["event"] == closed for entry in entries) == 3)
    ids = {entry["request_id"] for entry in entries if entry["event"] == closed}
    assert ids == {"call-7", "call-8", "call-9"}


async def test_a_client_that_is_cancelled_leaves_without_calling_it_a_failure(
    asr: LiveService, tts: LiveService
) -> None:
    async def talk(opened: AbstractAsyncContextManager[object], begun: asyncio.Event) -> None:
        async with opened:
            begun.set()
            await asyncio.sleep(60)

    with capture_logs() as entries:
        for opened in (open_asr(asr.ws, Start(), reconnect=None), open_tts(tts.ws)):
            begun = asyncio.Event()
            talking = asyncio.create_task(talk(opened, begun))
            async with asyncio.timeout(10):
                await begun.wait()
            talking.cancel()
            await asyncio.wait([talking])
            assert talking.cancelled()

        def codes() -> list[int]:
            return [each["code"] for each in entries if each["event"] == "connection closed"]

        await eventually(lambda: len(codes()) == 2)
    assert codes() == [1000, 1000]


async def test_a_full_service_says_when_to_come_back(small_asr: LiveService) -> None:
    async with open_asr(small_asr.ws, Start(), reconnect=None):
        with pytest.raises(ServiceError) as caught:
            async with open_asr(small_asr.ws, Start(), reconnect=None):
                pass
    assert caught.value.code == ErrorCode.OVERLOADED
    assert caught.value.retry_after_s == 2.0
