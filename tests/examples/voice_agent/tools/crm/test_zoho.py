"""Over TLS, to a server with Zoho's rules: tokens that expire, 204 for nothing, criteria."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import ValidationError

from examples.voice_agent.tools.base import PluginError
from examples.voice_agent.tools.crm.base import Wanted
from examples.voice_agent.tools.crm.zoho import ZohoCrm, ZohoSettings
from examples.voice_agent.tools.phone_numbers import phone_forms
from tests.examples.voice_agent.raw_http import raw_server
from tests.examples.voice_agent.tools.crm.conftest import Certificates
from tests.examples.voice_agent.tools.crm.zoho_server import ZohoServer

LAN = Wanted(phone=phone_forms("+84 901 234 567", "VN"))
LAN_TOLD = {"name": "Lan Nguyễn", "company": "Acme", "email": "lan@acme.vn"}
FIELDS = {"name": "Full_Name", "company": "Account_Name.name", "email": "Email"}

Connect = Callable[..., Any]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> ZohoServer:
    monkeypatch.setenv("ZOHO_CLIENT_ID", "id")
    monkeypatch.setenv("ZOHO_CLIENT_SECRET", "secret")
    monkeypatch.setenv("ZOHO_REFRESH_TOKEN", "refresh")
    return ZohoServer()


@pytest.fixture
def connect(server: ZohoServer, certificates: Certificates) -> Connect:
    @asynccontextmanager
    async def connected(**more: Any) -> AsyncIterator[ZohoCrm]:
        async with raw_server(server, tls=certificates.server) as raw:
            server.url = raw.url
            settings: dict[str, Any] = {
                "backend": "zoho", "accounts_url": raw.url, "fields": FIELDS,
                "reference_field": "Code", "ca_file": str(certificates.ca_file),
            }  # fmt: skip
            crm = ZohoCrm(ZohoSettings(**settings | more), 2.0)
            try:
                yield crm
            finally:
                await crm.aclose()

    return connected


async def test_a_customer_by_a_phone_number_however_it_is_written(
    connect: Connect, server: ZohoServer
) -> None:
    async with connect() as crm:
        assert await crm.find(LAN, 3) == [LAN_TOLD]
        assert [search["phone"] for search in server.searches] == ["+84901234567", "0901234567"]
        assert await crm.find(Wanted(phone=phone_forms("0909999999", "VN")), 3) == ()
        assert await crm.find(Wanted(email="lan@acme.vn"), 3) == [LAN_TOLD]
    assert server.searches[-1]["fields"] == "Account_Name,Email,Full_Name"


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("K-1", 1),
        ("a(b),c:d", 1),
        ("x)or(Email:equals:lan@acme.vn", 0),
        ("x\\", 0),
        ("&email=x", 0),
    ],
)
async def test_what_callers_say_never_becomes_criteria(
    connect: Connect, said: str, found: int
) -> None:
    async with connect() as crm:
        assert len(await crm.find(Wanted(reference=said), 3)) == found


async def test_one_token_serves_all(connect: Connect, server: ZohoServer) -> None:
    async with connect() as crm:
        found = await asyncio.gather(*(crm.find(LAN, 3) for _ in range(10)))
    assert found == [[LAN_TOLD]] * 10
    assert server.renewals == 1


async def test_an_expired_token_is_renewed_in_time(connect: Connect, server: ZohoServer) -> None:
    server.expires_in = 0
    async with connect() as crm:
        await crm.find(LAN, 3)
        before = server.renewals
        await crm.find(LAN, 3)
    assert server.renewals > before >= 1


async def test_a_token_that_is_refused_is_renewed_once_for_all(
    connect: Connect, server: ZohoServer
) -> None:
    async with connect() as crm:
        await crm.find(LAN, 3)
        server.tokens.clear()
        found = await asyncio.gather(*(crm.find(LAN, 3) for _ in range(10)))
    assert found == [[LAN_TOLD]] * 10
    assert server.renewals == 2


async def test_a_refused_login(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOHO_REFRESH_TOKEN", "wrong")
    async with connect() as crm:
        with pytest.raises(PluginError) as caught:
            await crm.find(LAN, 3)
    assert not caught.value.retryable and "invalid_code" in caught.value.reason
    assert "wrong" not in caught.value.reason


async def test_missing_secrets_are_named(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZOHO_CLIENT_ID")
    async with connect() as crm:
        assert crm.missing() == ["Set ZOHO_CLIENT_ID in the environment."]
        with pytest.raises(PluginError, match="not set up"):
            await crm.find(LAN, 3)


@pytest.mark.parametrize(("status", "retryable"), [(503, True), (429, True), (403, False)])
async def test_what_may_pass_is_told_from_what_does_not(
    connect: Connect, server: ZohoServer, status: int, retryable: bool
) -> None:
    server.fail_with = [status]
    async with connect() as crm:
        with pytest.raises(PluginError) as caught:
            await crm.find(LAN, 3)
        assert caught.value.retryable is retryable
        assert await crm.find(LAN, 3) == [LAN_TOLD]


async def test_tokens_are_sent_to_nobody_without_tls(connect: Connect, server: ZohoServer) -> None:
    async with connect() as crm:
        server.url = "http://127.0.0.1:1"
        with pytest.raises(PluginError):
            await crm.find(LAN, 3)
    with pytest.raises(ValidationError):
        ZohoSettings(backend="zoho", accounts_url="http://accounts.zoho.com")


def test_what_can_be_asked_for_is_configured() -> None:
    only_email = ZohoSettings(backend="zoho", by_phone=False)
    assert ZohoCrm(only_email, 1.0).kinds == ["email"]
