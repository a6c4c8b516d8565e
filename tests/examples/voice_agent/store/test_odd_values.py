"""What a database cannot hold is refused by the API as the client's fault, not as a database that
is away: found by fuzzing."""

from collections.abc import AsyncIterator

import httpx
import pytest

from examples.voice_agent.api.app import create_app, serving
from examples.voice_agent.api.config import ApiConfig
from examples.voice_agent.store.config import StoreConfig
from examples.voice_agent.store.store import open_store

AGENT = {"config": {"name": "a", "prompt": "You help."}}
HUGE = 10**30


@pytest.fixture
async def http(config: StoreConfig) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API over each kind of database."""
    settings = ApiConfig(port=0)
    async with (
        open_store(config, instance="test") as store,
        serving(create_app(store, settings), settings) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as client,
    ):
        assert (await client.post("/v1/agents", json=AGENT)).status_code == 201
        yield client


async def test_numbers_that_are_too_large(http: httpx.AsyncClient) -> None:
    answers = [
        await http.get(f"/v1/routes/{HUGE}"),
        await http.delete(f"/v1/routes/{HUGE}"),
        await http.get(f"/v1/agents/a/versions/{HUGE}"),
        await http.post("/v1/routes", json={"agent": "a", "pattern": "_1X", "version": HUGE}),
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_message")
        assert "too large" in answer.json()["message"]
        assert not answer.json()["retryable"]


async def test_texts_with_nul(http: httpx.AsyncClient) -> None:
    """SQLite takes them, PostgreSQL does not."""
    prompt = {"config": {"name": "a", "prompt": "You\0help."}}
    for answer in (
        await http.get("/v1/agents/%00"),
        await http.get("/v1/conversations?caller=%00"),
        await http.get("/v1/conversations/%00"),
        await http.post("/v1/agents", json=prompt),
        await http.post("/v1/routes", json={"agent": "a", "pattern": "_1X", "note": "\0"}),
    ):
        assert answer.status_code in (200, 201, 404, 422), answer.text
    assert (await http.get("/v1/agents/a")).json()["config"]["name"] == "a"
