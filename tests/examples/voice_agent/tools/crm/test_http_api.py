"""A customer database with an HTTP interface, good and bad."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import ValidationError

from examples.voice_agent.tools.base import PluginError
from examples.voice_agent.tools.crm.base import Wanted
from examples.voice_agent.tools.crm.http_api import HttpCrm, HttpCrmSettings
from examples.voice_agent.tools.crm.json_http import MAX_BYTES
from examples.voice_agent.tools.phone_numbers import phone_forms
from tests.examples.voice_agent.raw_http import Answer, RawServer, Request, raw_server

LAN = Wanted(phone=phone_forms("0901 234 567", "VN"))
RECORDS = {
    "data": {
        "items": [
            {"id": 1, "full_name": "Lan", "account": {"balance": 150.0, "note": ""}},
            {"id": 2, "full_name": "Bo", "account": None},
        ]
    }
}


@asynccontextmanager
async def _crm(server: RawServer, **more: Any) -> AsyncIterator[HttpCrm]:
    lookups: dict[str, dict[str, Any]] = {
        "phone": {"url": f"{server.url}/customers?phone={{phone}}&home={{phone_national}}"},
        "email": {"url": f"{server.url}/customers/{{email}}"},
        "reference": {
            "url": f"{server.url}/search?by={{reference}}",
            "method": "POST",
            "body": {"any": [{"ref": "{reference}"}], "limit": 5},
        },
    }
    settings: dict[str, Any] = {"backend": "http", "lookups": lookups, "records": "data.items"}
    crm = HttpCrm(HttpCrmSettings(**settings | more), 0.5)
    try:
        yield crm
    finally:
        await crm.aclose()


def says(status: int, body: object) -> Answer:
    return lambda request: request.whole(status, body)


async def test_fields_are_told_by_the_names_that_the_model_shall_use() -> None:
    fields = {"name": "full_name", "balance": "account.balance", "note": "account.note"}
    async with raw_server(says(200, RECORDS)) as server, _crm(server, fields=fields) as crm:
        assert await crm.find(LAN, 5) == [{"name": "Lan", "balance": 150.0}, {"name": "Bo"}]
        assert await crm.find(LAN, 1) == [{"name": "Lan", "balance": 150.0}]
    assert server.requests[0].path == "/customers?phone=%2B84901234567&home=0901234567"


async def test_whatever_is_said_stays_a_value() -> None:
    async with raw_server(says(200, RECORDS)) as server, _crm(server) as crm:
        await crm.find(Wanted(email="../admin?x=1#y@z.vn"), 5)
        await crm.find(Wanted(reference='{phone} "&a=b'), 5)
    assert server.requests[0].path == "/customers/..%2Fadmin%3Fx%3D1%23y%40z.vn"
    assert server.requests[1].path == "/search?by=%7Bphone%7D%20%22%26a%3Db"
    assert server.requests[1].json == {"any": [{"ref": '{phone} "&a=b'}], "limit": 5}


@pytest.mark.parametrize(
    ("auth", "name", "value"),
    [
        ({"auth": "bearer"}, "authorization", "Bearer s3cret"),
        ({"auth": "basic", "username": "bot"}, "authorization", "Basic Ym90OnMzY3JldA=="),
        ({"auth": "header", "header": "X-Key"}, "x-key", "s3cret"),
    ],
)
async def test_secrets_come_from_the_environment(
    auth: dict[str, str], name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        raw_server(says(200, RECORDS)) as server,
        _crm(server, secret_env="VOICE_AGENT_SECRET_CRM", **auth) as crm,
    ):
        monkeypatch.delenv("VOICE_AGENT_SECRET_CRM", raising=False)
        assert crm.missing() == ["Set VOICE_AGENT_SECRET_CRM in the environment."]
        with pytest.raises(PluginError):
            await crm.find(LAN, 5)
        monkeypatch.setenv("VOICE_AGENT_SECRET_CRM", "s3cret")
        assert len(await crm.find(LAN, 5)) == 2
    assert [request.headers[name] for request in server.requests] == [value]


@pytest.mark.parametrize(
    "answer",
    [says(404, {}), says(200, {}), says(200, {"data": {"items": []}}), says(200, b"")],
)
async def test_nobody_is_found(answer: Answer) -> None:
    async with raw_server(answer) as server, _crm(server) as crm:
        assert list(await crm.find(LAN, 5)) == []


async def _never(request: Request) -> None:
    await request.until_gone()


async def _endless(request: Request) -> None:
    await request.head(200, "application/json")
    for _ in range(MAX_BYTES // 65_536 + 2):
        await request.chunk(b" " * 65_536)


@pytest.mark.parametrize(
    ("answer", "retryable"),
    [
        (says(503, "later"), True),
        (says(429, "slowly"), True),
        (_never, True),
        (says(401, {"error": "who?"}), False),
        (says(302, b""), False),
        (says(200, b"<html>"), False),
        (says(200, {"data": {"items": [1]}}), False),
        (_endless, False),
    ],
)
async def test_failures(answer: Answer, retryable: bool) -> None:
    async with raw_server(answer) as server, _crm(server) as crm:
        with pytest.raises(PluginError) as caught:
            await crm.find(LAN, 5)
    assert caught.value.retryable is retryable


@pytest.mark.parametrize(
    "wrong",
    [
        {"lookups": {"phone": {"url": "https://{phone}/x"}}},
        {"lookups": {"phone": {"url": "https://crm/x?p={phone.__class__}"}}},
        {"lookups": {"phone": {"url": "https://crm/x?p={email}"}}},
        {"lookups": {"phone": {"url": "https://crm/x"}}},
        {"lookups": {"phone": {"url": "file:///etc/{phone}"}}},
        {"lookups": {}},
        {"auth": "bearer"},
        {"secret_env": "X"},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    good = {"backend": "http", "lookups": {"phone": {"url": "https://crm/x?p={phone}"}}}
    HttpCrmSettings.model_validate(good)
    with pytest.raises(ValidationError):
        HttpCrmSettings.model_validate(good | wrong)
