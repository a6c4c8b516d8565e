"""Through simple-salesforce, over TLS, to a server with Salesforce's names and rules."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import ValidationError

from examples.voice_agent.tools.base import PluginError
from examples.voice_agent.tools.crm.base import Wanted
from examples.voice_agent.tools.crm.salesforce import SalesforceCrm, SalesforceSettings
from examples.voice_agent.tools.phone_numbers import phone_forms
from tests.examples.voice_agent.raw_http import raw_server
from tests.examples.voice_agent.tools.crm.conftest import Certificates
from tests.examples.voice_agent.tools.crm.salesforce_server import SalesforceServer

LAN = Wanted(phone=phone_forms("+84 901 234 567", "VN"))
LAN_TOLD = {"name": "Lan Nguyễn", "company": "Acme", "email": "lan@acme.vn"}
FIELDS = {"name": "Name", "company": "Account.Name", "email": "Email"}

Connect = Callable[..., Any]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> SalesforceServer:
    monkeypatch.setenv("SALESFORCE_CONSUMER_KEY", "key")
    monkeypatch.setenv("SALESFORCE_CONSUMER_SECRET", "secret")
    return SalesforceServer()


@pytest.fixture
def connect(
    server: SalesforceServer,
    certificates: Certificates,
    salesforce_is_at: Callable[[int], None],
) -> Connect:
    @asynccontextmanager
    async def connected(**more: Any) -> AsyncIterator[SalesforceCrm]:
        settings: dict[str, Any] = {
            "backend": "salesforce", "domain": "acme.my", "fields": FIELDS,
            "reference_fields": ["Number__c"], "ca_file": str(certificates.ca_file),
        }  # fmt: skip
        async with raw_server(server, tls=certificates.server) as raw:
            salesforce_is_at(raw.port)
            crm = SalesforceCrm(SalesforceSettings(**settings | more), 2.0)
            try:
                yield crm
            finally:
                await crm.aclose()

    return connected


async def test_a_customer_by_a_phone_number_however_it_is_written(connect: Connect) -> None:
    async with connect() as crm:
        assert await crm.find(LAN, 3) == [LAN_TOLD]
        pat = Wanted(phone=phone_forms("(415) 555-2671", "US"))
        assert [record["name"] for record in await crm.find(pat, 3)] == ["Pat O'Brien"]
        assert await crm.find(Wanted(phone=phone_forms("0909999999", "VN")), 3) == []
        assert await crm.find(Wanted(reference="K-3"), 3) == [
            {"name": "Quốc \\ Trần", "email": "q@acme.vn"}
        ]


async def test_quotes_are_part_of_the_value(connect: Connect) -> None:
    async with connect() as crm:
        [record] = await crm.find(Wanted(email="pat.o'brien@acme.vn"), 3)
        assert record["name"] == "Pat O'Brien"


@pytest.mark.parametrize(
    "said",
    [
        "x') OR Email IN ('lan@acme.vn",
        "x\\') OR Email IN ('lan@acme.vn') LIMIT 9 --",
        "x\\",
        "{values}",
        "'",
        "\n') OR Name IN ('Lan Nguyễn",
    ],
)
async def test_what_callers_say_never_becomes_a_query(
    connect: Connect, server: SalesforceServer, said: str
) -> None:
    async with connect() as crm:
        assert await crm.find(Wanted(email=said), 9) == []
        assert await crm.find(Wanted(reference=said), 9) == []
    assert len(server.queries) == 2  # and none of them was malformed


async def test_one_login_serves_all(connect: Connect, server: SalesforceServer) -> None:
    async with connect() as crm:
        found = await asyncio.gather(*(crm.find(LAN, 3) for _ in range(12)))
    assert found == [[LAN_TOLD]] * 12
    assert server.logins == 1


async def test_an_expired_session_is_renewed(connect: Connect, server: SalesforceServer) -> None:
    async with connect() as crm:
        await crm.find(LAN, 3)
        server.tokens.clear()
        assert await crm.find(LAN, 3) == [LAN_TOLD]
    assert server.logins == 2


async def test_a_refused_login(
    connect: Connect, server: SalesforceServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALESFORCE_CONSUMER_SECRET", "wrong")
    async with connect() as crm:
        with pytest.raises(PluginError) as caught:
            await crm.find(LAN, 3)
        assert not caught.value.retryable and "invalid client credentials" in caught.value.reason
        assert "invalid" not in str(caught.value) and not server.queries
        monkeypatch.setenv("SALESFORCE_CONSUMER_SECRET", "secret")
        assert await crm.find(LAN, 3) == [LAN_TOLD]


async def test_missing_secrets_are_named(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SALESFORCE_CONSUMER_SECRET")
    async with connect() as crm:
        assert crm.missing() == ["Set SALESFORCE_CONSUMER_SECRET in the environment."]
        with pytest.raises(PluginError) as caught:
            await crm.find(LAN, 3)
    assert "SALESFORCE_CONSUMER_SECRET" in caught.value.reason


@pytest.mark.parametrize(("status", "retryable"), [(503, True), (500, True), (400, False)])
async def test_what_may_pass_is_told_from_what_does_not(
    connect: Connect, server: SalesforceServer, status: int, retryable: bool
) -> None:
    server.fail_with = [status]
    async with connect() as crm:
        with pytest.raises(PluginError) as caught:
            await crm.find(LAN, 3)
        assert caught.value.retryable is retryable
        assert await crm.find(LAN, 3) == [LAN_TOLD]


async def test_a_column_that_there_is_not(connect: Connect) -> None:
    async with connect(fields={"x": "Nothing__c"}) as crm:
        with pytest.raises(PluginError) as caught:
            await crm.find(LAN, 3)
    assert "Nothing__c" in caught.value.reason


async def test_nobody_is_there(connect: Connect, salesforce_is_at: Callable[[int], None]) -> None:
    async with connect() as crm:
        salesforce_is_at(1)
        with pytest.raises(PluginError) as caught:
            await crm.find(LAN, 3)
    assert caught.value.retryable


async def test_a_certificate_of_somebody_else_is_refused(
    connect: Connect, server: SalesforceServer
) -> None:
    async with connect(ca_file=None) as crm:
        with pytest.raises(PluginError) as caught:
            await crm.find(LAN, 3)
    assert "CERTIFICATE_VERIFY_FAILED" in caught.value.reason and not server.logins


async def test_login_by_password(
    connect: Connect, server: SalesforceServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALESFORCE_PASSWORD", "password")
    monkeypatch.setenv("SALESFORCE_SECURITY_TOKEN", "token")
    async with connect(auth="password", domain="login", username="bot@acme.vn") as crm:
        assert crm.missing() == []
        assert await crm.find(LAN, 3) == [LAN_TOLD]
        server.tokens.clear()
        monkeypatch.setenv("SALESFORCE_PASSWORD", "read once")
        assert await crm.find(LAN, 3) == [LAN_TOLD]


async def test_login_by_jwt(connect: Connect, server: SalesforceServer, tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    file = tmp_path / "key.pem"
    named: dict[str, Any] = {
        "auth": "jwt", "domain": "login", "username": "bot@acme.vn", "private_key_file": file,
    }  # fmt: skip
    async with connect(**named) as crm:
        assert crm.missing() == [f"{file} is not there."]
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        with pytest.raises(PluginError):
            await crm.find(LAN, 3)
        server.jwt_key = key.public_key()
        assert await crm.find(LAN, 3) == [LAN_TOLD]


@pytest.mark.parametrize(
    "wrong",
    [
        {"domain": "login"},
        {"domain": "evil.com/x"},
        {"auth": "jwt", "username": "x"},
        {"auth": "password"},
        {"fields": {"x": "Name FROM User"}},
        {"object": "Contact WHERE"},
        {"phone_fields": ["Phone)"]},
        {"phone_fields": [], "email_fields": []},
        {"password": "never in settings"},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SalesforceSettings(**{"backend": "salesforce", "domain": "acme.my"} | wrong)
