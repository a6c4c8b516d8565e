"""Services that are full or gone are known before a call asks them."""

import asyncio
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from examples.voice_agent.readiness import Readiness


class Health(ThreadingHTTPServer):
    """What a service says of itself."""

    status = 200
    asked = 0
    told: object = {"phase": "ready"}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Health) and self.path == "/health/ready?service=asr"
        self.server.asked += 1
        body = json.dumps(self.server.told).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def health() -> Iterator[Health]:
    with Health(("127.0.0.1", 0), Page) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(5)


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not reached():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_service_that_says_it_is_full_gets_no_calls_until_it_has_room(
    health: Health,
) -> None:
    health.status, health.told = 503, {"phase": "ready", "troubles": ["finals are late"]}
    async with Readiness({"asr": health.url}, every_s=0.02) as readiness:
        assert readiness.refusal is None, "nobody has asked yet"
        await until(lambda: readiness.refusal == "asr: finals are late")
        health.status = 200
        await until(lambda: readiness.refusal is None)


async def test_one_that_is_gone_is_noticed_but_not_at_the_first_silence(health: Health) -> None:
    gone = "http://127.0.0.1:1"
    async with Readiness({"asr": health.url, "tts": gone}, every_s=0.02) as readiness:
        await until(lambda: readiness.refusal is not None)
    assert readiness.refusal is not None and readiness.refusal.startswith("tts: ")


@pytest.mark.parametrize("told", [[], {"troubles": 1}, "x", None])
async def test_an_answer_that_cannot_be_read_is_a_refusal_all_the_same(
    health: Health, told: object
) -> None:
    health.status, health.told = 503, told
    async with Readiness({"asr": health.url}, every_s=0.02) as readiness:
        await until(lambda: readiness.refusal == "asr: not ready")


@pytest.mark.parametrize("status", [502, 504])
async def test_a_balancer_that_hears_of_no_instance_is_as_good_as_silent(
    health: Health, status: int
) -> None:
    health.status, health.told = status, {"type": "error"}
    async with Readiness({"asr": health.url}, every_s=0.02) as readiness:
        await until(lambda: readiness.refusal == "asr: no instance answers")
        assert health.asked >= 3
        health.status = 200
        await until(lambda: readiness.refusal is None)


async def test_a_proxy_that_keeps_the_page_to_itself_refuses_nothing(health: Health) -> None:
    health.status = 404
    async with Readiness({"asr": health.url}, every_s=0.02) as readiness:
        await until(lambda: health.asked >= 3)
        assert readiness.refusal is None
