"""What an agent does when a service refuses it: real services, keys with limits."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs
from structlog.types import EventDict

from examples.voice_agent.ears import Ears
from examples.voice_agent.events import Broken, Event, HearingLost
from examples.voice_agent.loopback import TELEPHONE
from examples.voice_agent.ports import Happened, Outcome
from examples.voice_agent.refusals import is_final, wait_s
from examples.voice_agent.transport import CallInfo
from services.asr.app import create_app as create_asr
from services.asr.messages import Start
from services.client.asr import open_asr
from services.client.connection import ServiceError
from services.shared.models.store import ModelStore
from services.shared.protocol.base import ErrorCode
from services.shared.runtime.config import ServerConfig
from services.shared.runtime.key_store import KeyStore
from services.shared.runtime.keys import KeyLimits, Scope, new_key
from services.tts.app import create_app as create_tts
from services.tts.config import TtsConfig
from tests.examples.llm_server import Line, Script, llm_server
from tests.examples.voice_agent.live_call import LiveCall, agent, calling, tone
from tests.services.asr.conftest import tones as asr_tones
from tests.services.serving import eventually, serving
from tests.services.tts.conftest import tones as tts_tones

PHONE = CallInfo("call-1", "100", "200", goes_on=True)
DAY_S = 86_400.0


@pytest.mark.parametrize(
    ("code", "retry_after_s", "final"),
    [
        ("quota_exceeded", DAY_S, True),
        ("quota_exceeded", None, True),
        ("quota_exceeded", 2.0, False),
        ("overloaded", DAY_S, False),
        ("unreachable", None, False),
    ],
)
def test_waiting_is_of_no_use(code: str, retry_after_s: float | None, final: bool) -> None:
    error = ServiceError("no", code=code, retry_after_s=retry_after_s)
    assert is_final(error, 12.0) is final
    assert not is_final(TimeoutError(), 12.0)


def test_over_a_quota_the_wait_is_what_was_told_but_bounded() -> None:
    def refused(retry_after_s: float | None) -> ServiceError:
        return ServiceError("no", code=ErrorCode.QUOTA_EXCEEDED, retry_after_s=retry_after_s)

    assert wait_s(refused(None), 0.2) == 0.2
    assert wait_s(refused(2.0), 0.2) == 2.0
    assert wait_s(refused(DAY_S), 0.2) == 10.0


@pytest.mark.parametrize("code", [ErrorCode.OVERLOADED, ErrorCode.SHUTTING_DOWN])
def test_for_a_caller_on_the_line_room_is_asked_for_soon(code: ErrorCode) -> None:
    assert wait_s(None, 0.2) == wait_s(TimeoutError(), 0.2) == 0.2
    assert wait_s(ServiceError("no", code=code, retry_after_s=30.0), 0.2) == 0.2


KEYS = {
    "deaf": KeyLimits(audio_minutes_per_day=0.5 / 60),
    "short": KeyLimits(audio_minutes_per_day=3 / 60),
    "alone": KeyLimits(sessions=1),
    "mute": KeyLimits(characters_per_day=0),
    "terse": KeyLimits(characters_per_day=800),
    "free": KeyLimits(),
}
"""One for each test: what is used of it is gone for the day."""


class House:
    """Both services, with keys."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.keys = dict[str, str]()
        store = KeyStore(folder / "keys.yaml")
        for name, limits in KEYS.items():
            scopes = (Scope.ASR, Scope.TTS)
            key, record = new_key(name, scopes=scopes, limits=limits, now=datetime.now(UTC))
            self.keys[name] = key
            store.add(record)
        server = ServerConfig(keys_file=folder / "keys.yaml", drain_s=0.5)
        asr, tts = asr_tones(server=server), TtsConfig(engines=tts_tones(), server=server)
        models = ModelStore()
        self.asr = stack.enter_context(serving(create_asr(asr, models), asr.limits, server))
        self.tts = stack.enter_context(serving(create_tts(tts, models), tts.limits, server))
        self.logged: list[EventDict] = []

    @property
    def refused(self) -> int:
        return sum(entry["event"] == "connection refused" for entry in self.logged)

    def ids(self, route: str) -> set[str]:
        """Of the connections to it."""
        opened = [entry for entry in self.logged if entry["event"] == "connection opened"]
        return {str(entry["request_id"]) for entry in opened if entry["route"] == route}


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with ExitStack() as stack:
        yield House(tmp_path_factory.mktemp("keys"), stack)


@pytest.fixture
def house(services: House) -> Iterator[House]:
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as services.logged:
        yield services


@asynccontextmanager
async def placing(
    house: House, asr_key: str, tts_key: str, answer: str = "Yes."
) -> AsyncIterator[LiveCall]:
    """A call of somebody who goes on in a dial plan when we cannot serve them."""
    with llm_server(Script([Line("w4", answer)])) as url:
        async with calling(
            agent(url),
            house.asr.ws,
            house.tts.ws,
            info=PHONE,
            asr_key=house.keys[asr_key],
            tts_key=house.keys[tts_key],
        ) as call:
            yield call


def reasons(call: LiveCall) -> list[str]:
    """Why the call was given up, as its journal says."""
    happened = [each for each in call.ledger.entries if isinstance(each, Happened)]
    return [str(each.data["reason"]) for each in happened if each.what == "gave_up"]


async def test_a_call_is_found_in_the_logs_of_both_services_by_its_id(house: House) -> None:
    async with placing(house, "free", "free") as call:
        await call.agent_said("greeting")
        call.line.say(tone(0.8))
        await call.agent_said("answer")
    assert house.ids("/v1/stream/asr") == {PHONE.call_id}
    assert house.ids("/v1/stream/tts") == {PHONE.call_id}


async def test_a_call_without_hearing_is_given_back_at_once(house: House) -> None:
    """Not after ringing for as long as a service may take to come back."""
    async with placing(house, "deaf", "free") as call:
        assert await call.outcome(2.0) is Outcome.FALLBACK
        assert call.line.given_back and call.line.answered_at is None
        (why,) = reasons(call)
        assert "ASR" in why and "midnight UTC" in why
    await eventually(lambda: house.refused > 0)
    assert house.refused == 1


async def test_a_call_without_a_voice_is_given_back_at_once(house: House) -> None:
    async with placing(house, "free", "mute") as call:
        assert await call.outcome(2.0) is Outcome.FALLBACK
        assert call.line.given_back and call.line.answered_at is None
        assert "midnight UTC" in reasons(call)[0]
    assert house.refused <= 2  # the greeting and the answers have a connection each


@pytest.mark.slow
async def test_who_uses_up_the_minutes_in_a_call_is_told_and_given_back(house: House) -> None:
    async with placing(house, "short", "free") as call:
        await call.agent_said("greeting")
        call.line.say(tone(4.0))
        assert await call.outcome(8.0) is Outcome.FALLBACK
        assert call.line.given_back
        assert call.ledger.agent_turns("fallback")[0].spoken
        assert "midnight UTC" in reasons(call)[0]
    assert house.refused <= 1


@pytest.mark.slow
async def test_who_uses_up_the_characters_in_a_call_is_told_and_given_back(house: House) -> None:
    async with placing(house, "free", "terse", "word " * 200) as call:
        await call.agent_said("greeting")
        await asyncio.sleep(0.5)  # the sentences for bad times are being rendered
        call.line.say(tone(0.8))
        assert await call.outcome(8.0) is Outcome.FALLBACK
        assert call.ledger.agent_turns("fallback")[0].spoken
        assert "midnight UTC" in reasons(call)[0]
    assert house.refused <= 1


async def test_too_many_sessions_at_a_time_are_waited_for_without_hammering(house: House) -> None:
    told: list[Event] = []
    key = house.keys["alone"]
    ears = Ears(house.asr.ws, key, agent("http://127.0.0.1:1"), TELEPHONE, told.append)
    async with open_asr(house.asr.ws, Start(), key=key, reconnect=None):
        hearing = asyncio.create_task(ears.run())
        await eventually(lambda: bool(told))
        refused_at = time.monotonic()
        await asyncio.sleep(1.0)
    async with asyncio.timeout(5):
        await ears.connected.wait()
    assert time.monotonic() - refused_at >= 1.9  # "Retry-After: 2"
    assert house.refused == 1
    assert isinstance(told[0], HearingLost) and not any(isinstance(e, Broken) for e in told)
    hearing.cancel()
    await asyncio.wait([hearing])
