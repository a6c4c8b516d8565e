"""The telephony that is shipped for beginners, in a real Asterisk: a softphone and a trunk."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from examples.asterisk_bridge.bench.asterisk_server import AsteriskServer
from examples.asterisk_bridge.bench.caller import CallFailed, PhoneCall, dial
from examples.asterisk_bridge.bench.measure import tone_level
from examples.asterisk_bridge.bench.recording import RATE
from examples.asterisk_bridge.bench.sip_messages import SipMessage, answer_to, parse_sip
from examples.asterisk_bridge.bridge import Bridge
from examples.asterisk_bridge.echo import TONE_HZ, converse

pytestmark = [pytest.mark.asterisk, pytest.mark.slow, pytest.mark.timeout(120)]

RunBridge = Callable[..., AbstractAsyncContextManager[Bridge]]
SHIPPED = Path(__file__).parents[3] / "examples" / "asterisk_bridge" / "asterisk"
PASSWORD = "change-this-password"
PROVIDER, PROVIDERS_PORT = "127.0.0.2", 15_062
CHALLENGE = 'Digest realm="provider", nonce="n1", algorithm=MD5, qop="auth"'


class Provider(asyncio.DatagramProtocol):
    """Whom Asterisk registers with; asks for the account's password."""

    def __init__(self) -> None:
        self.registered = asyncio.Event()
        self.proofs: list[tuple[SipMessage, str]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._line = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        request = parse_sip(data)
        if request.method != "REGISTER":
            return
        proof = request.header("Authorization")
        if not proof:
            refusal = answer_to(request, "401 Unauthorized")
            headers = (*refusal.headers, ("WWW-Authenticate", CHALLENGE))
            self._line.sendto(SipMessage(refusal.start, headers).encode(), addr)
            return
        self.proofs.append((request, proof))
        answer = answer_to(request, "200 OK")
        contact = ("Contact", f"{request.header('Contact')};expires=3600")
        self._line.sendto(SipMessage(answer.start, (*answer.headers, contact)).encode(), addr)
        self.registered.set()


@asynccontextmanager
async def provider(port: int) -> AsyncIterator[Provider]:
    loop = asyncio.get_running_loop()
    line, service = await loop.create_datagram_endpoint(Provider, local_addr=(PROVIDER, port))
    try:
        yield service
    finally:
        line.close()


@pytest.fixture(scope="module")
def office(asterisk_root: Path) -> Iterator[AsteriskServer]:
    """As somebody has it who copied the samples and put their provider in."""
    pjsip = (SHIPPED / "pjsip.conf.sample").read_text()
    pjsip = pjsip.replace("127.0.0.1:5060", "127.0.0.1:{sip_port}")
    pjsip = pjsip.replace("match = sip.example.com", f"match = {PROVIDER}")
    pjsip = pjsip.replace("sip.example.com", f"{PROVIDER}:{PROVIDERS_PORT}")
    pjsip = pjsip.replace("retry_interval = 30", "retry_interval = 1")
    site = (SHIPPED / "site.conf.sample").read_text()
    ways_in = re.findall(r"(\[from-\w+\].*?)(?=\n\[)", site, re.DOTALL)
    assert len(ways_in) == 2
    fallback = "[fallback]\nexten => s,1,Answer()\n same => n,Milliwatt()\n"
    dialplan = "\n".join(["#include voice_agent.conf", *ways_in, fallback])
    with AsteriskServer(
        asterisk_root, {"pjsip.conf": pjsip, "extensions.conf": dialplan}
    ) as server:
        yield server


def at(server: AsteriskServer) -> tuple[str, int]:
    return "127.0.0.1", server.sip_port


async def is_answered_by_the_agent(call: PhoneCall) -> bool:
    await asyncio.sleep(1.0)
    heard = call.recorder.agent[: round(call.now_s() * RATE)]
    begin = round((call.answered_s or 0) * RATE)
    return any(
        tone_level(heard[start : start + RATE // 4], RATE, TONE_HZ) > 0.8
        for start in range(begin, len(heard) - RATE // 4, RATE // 20)
    )


async def test_the_samples_are_understood(office: AsteriskServer) -> None:
    endpoints = await asyncio.to_thread(office.cli, "pjsip show endpoints")
    assert "6001" in endpoints and "trunk" in endpoints
    known = await asyncio.to_thread(office.cli, "pjsip show identifies")
    assert PROVIDER in known
    assert "ERROR" not in office.log and "is not valid" not in office.log


async def test_a_softphone_with_its_password_reaches_the_agent(
    office: AsteriskServer, run_bridge: RunBridge
) -> None:
    async with run_bridge(office, converse) as bridge:
        await asyncio.wait_for(bridge.socket.connected.wait(), 10)
        async with dial(at(office), "1000", caller="6001", password=PASSWORD) as call:
            assert await is_answered_by_the_agent(call)


@pytest.mark.parametrize(
    ("caller", "password"), [("6001", "wrong"), ("6001", None), ("6002", PASSWORD)]
)
async def test_strangers_do_not(
    office: AsteriskServer, run_bridge: RunBridge, caller: str, password: str | None
) -> None:
    async with run_bridge(office, converse) as bridge:
        await asyncio.wait_for(bridge.socket.connected.wait(), 10)
        with pytest.raises(CallFailed, match="Unauthorized"):
            async with dial(at(office), "1000", caller=caller, password=password):
                pass
        assert not bridge.registry.calls


def expected(given: dict[str, str]) -> str:
    """What a provider computes (RFC 2617)."""
    ours = _md5(given["username"], given["realm"], PASSWORD)
    asked = _md5("REGISTER", given["uri"])
    return _md5(ours, given["nonce"], given["nc"], given["cnonce"], "auth", asked)


def _md5(*parts: str) -> str:
    return hashlib.md5(":".join(parts).encode(), usedforsecurity=False).hexdigest()


async def test_the_trunk_registers_and_its_calls_reach_the_agent(
    office: AsteriskServer, run_bridge: RunBridge
) -> None:
    async with provider(PROVIDERS_PORT) as service:
        await asyncio.to_thread(office.cli, "pjsip send register trunk")
        await asyncio.wait_for(service.registered.wait(), 20)
    request, proof = service.proofs[0]
    given = dict(re.findall(r'(\w+)="?([^",]+)', proof))
    assert given["username"] == "change-this-account"
    assert given["response"] == expected(given)
    assert request.header("Contact").startswith("<sip:change-this-account@")
    async with run_bridge(office, converse) as bridge:
        await asyncio.wait_for(bridge.socket.connected.wait(), 10)
        for number in ("+15550100", "15550100"):
            async with dial(at(office), number, caller="5550199", host=PROVIDER) as call:
                assert await is_answered_by_the_agent(call)
