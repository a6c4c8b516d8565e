"""Nobody uses a route without a key: every method of every route of the API is walked."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from examples.voice_agent.api.app import create_app, serving
from examples.voice_agent.api.config import ApiConfig
from examples.voice_agent.api.keys import key_digest
from tests.examples.voice_agent.api.conftest import Api
from tests.services.route_walk import routes

OPEN = {
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/docs/oauth2-redirect"),
    ("GET", "/redoc"),
}
WRONG = {
    "nothing": None,
    "a wrong key": "va_wrong",
    "the beginning of one": "va_",
    "a digest": key_digest("va_wrong"),
}


def kept(api: Api) -> set[tuple[str, str]]:
    return set(routes(create_app(api.store, ApiConfig()).routes)) - OPEN


@pytest.fixture
async def far(api: Api, tmp_path: Path) -> AsyncIterator[str]:
    """Its address, set up as for those who are not on this machine."""
    config = ApiConfig(port=0, keys_file=tmp_path / "keys", open_metrics=False)
    app = create_app(api.store, config)
    async with serving(app, config) as url:
        yield url


def test_the_walk_finds_them_all(api: Api) -> None:
    found = kept(api)
    assert {("GET", "/metrics"), ("WS", "/v1/calls/live")} < found
    assert {method for method, _ in found} == {"GET", "POST", "PUT", "DELETE", "WS"}
    assert len(found) >= 16


def test_health_alone_is_health_alone(api: Api) -> None:
    app = create_app(api.store, ApiConfig(), only_health=True)
    assert set(routes(app.routes)) - OPEN == {("GET", "/metrics")}
    assert set(app.openapi()["paths"]) == {"/health/live", "/health/ready", "/metrics"}


@pytest.mark.parametrize("key", WRONG.values(), ids=WRONG)
async def test_without_a_good_key_each_is_refused(api: Api, far: str, key: str | None) -> None:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=far, headers=headers, trust_env=False) as stranger:
        for method, path in kept(api):
            if method == "WS":
                assert await watched(f"{far}{path}", key) == ("unauthorized", 1008)
                continue
            # A body that cannot be read: it must not be looked at before the key.
            answer = await stranger.request(method, filled(path), content=b"{")
            assert answer.status_code == 401, f"{method} {path}"
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["code"] == "unauthorized"


async def test_with_a_good_key_none_is(api: Api, far: str) -> None:
    headers = {"Authorization": f"Bearer {api.key}"}
    async with httpx.AsyncClient(base_url=far, headers=headers, trust_env=False) as holder:
        for method, path in kept(api) - {("WS", "/v1/calls/live")}:
            answer = await holder.request(method, filled(path), content=b"{")
            assert answer.status_code in (200, 204, 404, 422), f"{method} {path}"


async def test_what_is_open_is_open(far: str) -> None:
    async with httpx.AsyncClient(base_url=far, trust_env=False) as stranger:
        for method, path in OPEN:
            assert (await stranger.request(method, path)).status_code == 200, path


async def test_a_body_of_any_size_is_not_read(api: Api) -> None:
    body = b'{"config": {"prompt": "' + b"a" * (2 << 20) + b'"}}'
    for content in (body, stream(body)):
        answer = await api.http.post("/v1/agents", content=content)
        assert (answer.status_code, answer.json()["code"]) == (413, "message_too_large")


async def stream(body: bytes) -> AsyncIterator[bytes]:
    """Without saying how long it is."""
    for at in range(0, len(body), 1 << 16):
        yield body[at : at + (1 << 16)]


def filled(path: str) -> str:
    return (
        path.replace("{version}", "1").replace("{route_id}", "1").replace("{", "").replace("}", "")
    )


async def watched(url: str, key: str | None) -> tuple[str, int]:
    """What is told first, and the code of the close."""
    offered = [Subprotocol("voice")] + ([Subprotocol(key)] if key else [])
    address = url.replace("http", "ws", 1)
    async with connect(address, subprotocols=offered, proxy=None) as socket:
        told = json.loads(await socket.recv())
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    return told["code"], closed.value.rcvd.code


@pytest.mark.parametrize(
    ("config", "shown"),
    [
        ({}, True),
        ({"host": "::1"}, True),
        ({"open_metrics": False}, False),
        ({"host": "0.0.0.0", "allow_unauthenticated": True}, False),
        ({"host": "0.0.0.0", "allow_unauthenticated": True, "open_metrics": True}, True),
    ],
)
def test_metrics_are_open_where_only_this_machine_can_ask(
    config: dict[str, object], *, shown: bool
) -> None:
    assert ApiConfig.model_validate(config).shows_metrics is shown
