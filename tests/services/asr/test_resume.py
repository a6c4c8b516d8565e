"""Sessions that outlive their connections, over real ones that are lost in every way."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from services.asr.config import ResumeConfig
from services.asr.engines.base import DecodeRequest, Hypothesis
from services.asr.engines.fake import FakeEngine
from services.asr.messages import (
    Ack,
    Final,
    Ready,
    Resumed,
    ServerMessage,
    SessionEvent,
    SpeechStarted,
    Stopped,
)
from services.shared.protocol.base import Error, ErrorCode
from services.shared.runtime.config import LimitsConfig, ServerConfig
from tests.services.asr.client import Caller, recognise, session
from tests.services.asr.conftest import Start
from tests.services.asr.sounds import joined, opus_packets, pcm, silence, tone
from tests.services.serving import LiveService, eventually
from tests.services.unreliable import unreliable

SECOND = pcm(tone(400, 1000))
TURN = pcm(joined(silence(200), tone(400, 1000), silence(900)))
PLAIN: dict[str, Any] = {"partials": False, "turn": {"mode": "silence", "silence_ms": 500}}
RESUMABLE: dict[str, Any] = {"resumable": True, **PLAIN}


def session_id(caller: Caller) -> str:
    return caller.all(Ready)[0].session_id


def events(*callers: Caller) -> list[ServerMessage]:
    """What the callers, who are one, were told, without numbers and timings, kind by kind."""
    found: list[ServerMessage] = []
    for message in (message for caller in callers for message in caller.log):
        if isinstance(message, Final):
            quick = message.timings.model_copy(
                update=dict.fromkeys(type(message.timings).model_fields, 0)
            )
            message = message.model_copy(update={"timings": quick})
        if isinstance(message, SpeechStarted | Final | Stopped):
            found.append(message.model_copy(update={"event": None}))
    return sorted(found, key=lambda message: message.type)


def numbers(*callers: Caller) -> list[int | None]:
    log = [message for caller in callers for message in caller.log]
    return [message.event for message in log if isinstance(message, SessionEvent | Error)]


def latest(*callers: Caller) -> int:
    return max((number for number in numbers(*callers) if number), default=0)


async def lose(caller: Caller) -> None:
    """Without a close frame."""
    caller.socket.transport.abort()
    await caller.socket.wait_closed()


async def hear_ack(caller: Caller, received: int) -> None:
    while (await caller.hear(Ack)).received < received:
        pass


@asynccontextmanager
async def resumed(
    service: LiveService, id: str, last_event: int = 0, **options: Any
) -> AsyncIterator[tuple[Caller, Resumed]]:
    query = f"?session_id={id}&last_event={last_event}"
    async with session(service.ws, query=query, ready=False, **options) as caller:
        answer = await caller.hear(Resumed)
        assert caller.log == [answer], "it comes first"
        assert answer.session_id == id
        yield caller, answer


async def refusal(service: LiveService, id: str, code: ErrorCode, **options: Any) -> Error:
    last_event = options.pop("last_event", 0)
    query = f"?session_id={id}&last_event={last_event}"
    async with session(service.ws, query=query, ready=False, **options) as caller:
        return await caller.hear_error(code, close=1008)


# What it looks like.


async def test_who_does_not_ask_sees_nothing_of_it(live: LiveService) -> None:
    async with session(live.ws, start=PLAIN) as caller:
        await caller.audio(TURN)
        await asyncio.sleep(0.2)
        await caller.stop()
    assert caller.all(Ack) == []
    assert set(numbers(caller)) == {None}


async def test_events_are_numbered_and_messages_acknowledged(live: LiveService) -> None:
    async with session(live.ws, start=RESUMABLE) as caller:
        await hear_ack(caller, 1)
        await caller.audio(TURN, size=6721)
        await hear_ack(caller, 1 + 10)
        await caller.stop()
    assert numbers(caller) == list(range(1, len(numbers(caller)) + 1))
    assert all(ack.received <= 12 for ack in caller.all(Ack))


# Behind a balancer, which does not know where a session lives.


async def test_a_probe_for_another_ones_session_is_told_before_the_upgrade(
    live: LiveService,
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await refusal(
            live, "0" * 32, ErrorCode.SESSION_NOT_FOUND, additional_headers={"X-Voice-Probe": "1"}
        )
    assert refused.value.response.status_code == 404
    assert json.loads(refused.value.response.body or b"")["code"] == "session_not_found"


async def test_a_probe_finds_the_session_that_is_here(live: LiveService) -> None:
    async with session(live.ws, start=RESUMABLE) as first:
        await hear_ack(first, 1)
        await lose(first)
        found = resumed(live, session_id(first), additional_headers={"X-Voice-Probe": "1"})
        async with found as (second, _):
            await second.stop()


async def test_a_probe_without_sense_is_told_on_the_socket(live: LiveService) -> None:
    probe = {"X-Voice-Probe": "1"}
    await refusal(live, "", ErrorCode.INVALID_MESSAGE, additional_headers=probe)


# Lost and found.


async def test_a_lost_connection_costs_nothing(live: LiveService) -> None:
    undisturbed = await recognise(live.ws, TURN + TURN, **PLAIN)
    chunks = [(TURN + TURN)[at : at + 6721] for at in range(0, 2 * len(TURN), 6721)]
    async with session(live.ws, start=RESUMABLE) as first:
        await first.audio(chunks[:12])
        await first.hear(Final)
        await lose(first)
    async with resumed(live, session_id(first), latest(first)) as (second, answer):
        assert 1 <= answer.received <= 13
        await second.audio(chunks[answer.received - 1 :])
        await second.stop()
    assert events(first, second) == events(undisturbed)
    assert numbers(first, second) == list(range(1, len(numbers(first, second)) + 1))


async def test_all_that_was_received_counts_and_what_was_missed_is_told(live: LiveService) -> None:
    async with session(live.ws, start=RESUMABLE) as first:
        await first.audio(TURN, size=3200)
        await first.say(type="flush")
        await first.say(type="flush")
        await hear_ack(first, 1 + 21 + 2)
        await lose(first)
    async with resumed(live, session_id(first), 0) as (second, answer):
        assert answer.received == 1 + 21 + 2
        await second.stop()
    told = [message.model_dump() for message in second.log if isinstance(message, SessionEvent)]
    before = [message.model_dump() for message in first.log if isinstance(message, SessionEvent)]
    assert told[: len(before)] == before
    assert numbers(second) == list(range(1, len(told) + 1))
    assert sum(final.turn_end for final in second.all(Final)) == 3


async def test_opus_packets_are_counted(live: LiveService) -> None:
    packets = opus_packets(joined(silence(300), tone(600, 1200), silence(900)))
    opus = {"encoding": "opus", **RESUMABLE}
    undisturbed = await recognise(live.ws, packets, encoding="opus", **PLAIN)
    async with session(live.ws, start=opus) as first:
        await first.audio(packets[:40])
        await hear_ack(first, 41)
        await lose(first)
    async with resumed(live, session_id(first), latest(first)) as (second, answer):
        assert answer.received == 41
        await second.audio(packets[40:])
        await second.stop()
    assert events(first, second) == events(undisturbed)


async def test_what_is_said_while_nobody_listens_is_kept(start_service: Start) -> None:
    service = start_service(delay_ms=1500)
    async with session(service.ws, start=RESUMABLE) as first:
        await first.audio(SECOND)
        await first.say(type="stop")
        await hear_ack(first, 1 + 10 + 1)
        assert first.all(Final) == []
        await lose(first)
    await eventually(lambda: service.metric("voice_asr_finals_total") == 1)
    await eventually(lambda: service.lifecycle.sessions == 0)
    async with resumed(service, session_id(first), latest(first)) as (second, answer):
        assert answer.received == 1 + 10 + 1
        assert await second.closed() == 1000
    assert [message.type for message in events(first, second)] == [
        "final",
        "speech_started",
        "stopped",
    ]
    assert second.text == "w4 w4 w4 w4 w4"


async def test_the_last_words_can_be_fetched_again(live: LiveService) -> None:
    async with session(live.ws, start=RESUMABLE) as first:
        await first.audio(TURN)
        await first.stop()
    for last_event in (0, len(numbers(first)) - 1):
        async with resumed(live, session_id(first), last_event) as (second, _):
            assert await second.closed() == 1000
        assert numbers(second) == list(range(last_event + 1, len(numbers(first)) + 1))
        assert second.log[-1] == first.log[-1]


async def test_whoever_resumes_takes_over(live: LiveService) -> None:
    async with session(live.ws, start=RESUMABLE) as first:
        await first.audio(SECOND)
        await hear_ack(first, 11)
        async with resumed(live, session_id(first), latest(first)) as (second, answer):
            assert answer.received == 11
            error = await first.hear_error(ErrorCode.TAKEN_OVER, close=1008)
            assert error.event is None
            async with resumed(live, session_id(first), latest(first)) as (third, _):
                await second.hear_error(ErrorCode.TAKEN_OVER, close=1008)
                await third.audio(SECOND)
                await third.stop()
    assert third.text == " ".join(["w4"] * 10)


@pytest.mark.real_time
async def test_no_silence_is_assumed_while_the_client_is_away(live: LiveService) -> None:
    async with session(live.ws, start=RESUMABLE) as first:
        await first.audio(SECOND)
        await hear_ack(first, 11)
        await lose(first)
    await asyncio.sleep(1.2)
    async with resumed(live, session_id(first), latest(first)) as (second, _):
        await asyncio.sleep(0.3)
        await second.audio(SECOND)
        await second.stop()
    assert second.text == " ".join(["w4"] * 10)
    assert len(second.all(Final)) == 1


async def test_a_client_that_came_back_and_says_nothing_is_silent(live: LiveService) -> None:
    async with session(live.ws, start=RESUMABLE) as first:
        await first.audio(SECOND)
        await hear_ack(first, 11)
        await lose(first)
    async with resumed(live, session_id(first), latest(first)) as (second, _):
        assert (await second.hear(Final)).turn_end


# Peers that vanish without a word.


async def test_a_dead_peer_is_noticed_and_its_session_parked(start_service: Start) -> None:
    service = start_service(limits=LimitsConfig(dead_s=0.6))
    async with unreliable(service.address) as proxy:
        async with session(proxy.ws, start=RESUMABLE, ping_interval=None, close_timeout=0) as first:
            await first.audio(SECOND)
            await hear_ack(first, 11)
            proxy.freeze()
            await eventually(lambda: service.metric("voice_asr_parked_sessions") == 1)
        async with resumed(service, session_id(first), latest(first)) as (second, answer):
            assert answer.received == 11
            assert service.metric("voice_asr_parked_sessions") == 0
            await second.stop()
    assert second.text or first.text


@pytest.mark.real_time
async def test_who_is_not_read_is_not_dead(start_service: Start) -> None:
    service = start_service(delay_ms=150, limits=LimitsConfig(dead_s=0.3))
    turns = pcm(joined(*[tone(400, 300), silence(600)] * 15))
    async with session(service.ws, start=PLAIN) as caller:
        await caller.audio(turns)
        await caller.stop()
    assert len(caller.all(Final)) == 15


async def test_a_session_can_be_taken_from_a_dead_peer_at_once(live: LiveService) -> None:
    async with (
        unreliable(live.address) as proxy,
        session(proxy.ws, start=RESUMABLE, close_timeout=0) as first,
    ):
        await first.audio(SECOND)
        await hear_ack(first, 11)
        proxy.freeze()
        async with resumed(live, session_id(first), latest(first)) as (second, _):
            await second.audio(SECOND)
            await second.stop()
    assert second.text.split() == ["w4"] * 10


# What is over is over.


async def test_what_cannot_be_resumed(live: LiveService) -> None:
    await refusal(live, "0" * 32, ErrorCode.SESSION_NOT_FOUND)
    async with session(live.ws, start=PLAIN) as plain:
        await plain.audio(SECOND)
        await plain.hear(SpeechStarted)
        await refusal(live, session_id(plain), ErrorCode.SESSION_NOT_FOUND)
        await plain.stop()
    async with session(live.ws, start=RESUMABLE) as left:
        await hear_ack(left, 1)
    await eventually(lambda: live.lifecycle.sessions == 0)
    await refusal(live, session_id(left), ErrorCode.SESSION_NOT_FOUND)
    async with session(live.ws, start=RESUMABLE) as wrong:
        await hear_ack(wrong, 1)
        await wrong.say(type="sing")
        await wrong.hear_error(ErrorCode.INVALID_MESSAGE, close=1008)
    await refusal(live, session_id(wrong), ErrorCode.SESSION_NOT_FOUND)


@pytest.mark.parametrize(("code", "stays"), [(1000, False), (None, False), (1001, True)])
async def test_how_it_was_closed_tells_whether_to_wait(
    live: LiveService, code: int | None, stays: bool
) -> None:
    async with session(live.ws, start=RESUMABLE) as first:
        await hear_ack(first, 1)
        if code is None:
            first.socket.protocol.send_close()
            first.socket.send_data()
        else:
            await first.socket.close(code)
        await first.socket.wait_closed()
    if stays:
        async with resumed(live, session_id(first)) as (second, _):
            await second.stop()
    else:
        await eventually(lambda: live.lifecycle.sessions == 0)
        await refusal(live, session_id(first), ErrorCode.SESSION_NOT_FOUND)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?session_id=", "session_id"),
        ("?session_id=a&last_event=-1", "last_event"),
        ("?session_id=a&last_event=one", "last_event"),
        ("?session_id=a&received=3", "received"),
    ],
)
async def test_a_wrong_request_names_the_field(live: LiveService, query: str, field: str) -> None:
    async with session(live.ws, query=query, ready=False) as caller:
        error = await caller.hear_error(ErrorCode.INVALID_MESSAGE, close=1008)
    assert field in error.message


async def test_the_window_ends(start_service: Start) -> None:
    service = start_service(delay_ms=100, resume=ResumeConfig(window_s=1.0))
    await asyncio.sleep(0.1)
    before = service.tasks()
    async with session(service.ws, start=RESUMABLE) as caller:
        await caller.audio(SECOND)
        await hear_ack(caller, 11)
        await lose(caller)
    await eventually(lambda: service.metric("voice_asr_parked_sessions") == 1)
    assert service.lifecycle.sessions == 1
    await eventually(lambda: service.lifecycle.sessions == 0)
    await eventually(lambda: service.tasks() <= before)
    assert service.metric("voice_asr_expired_total") == 1
    assert service.metric("voice_asr_parked_sessions") == 0
    await refusal(service, session_id(caller), ErrorCode.SESSION_NOT_FOUND)


async def test_the_last_words_are_forgotten_after_the_window(start_service: Start) -> None:
    service = start_service(resume=ResumeConfig(window_s=0.3))
    async with session(service.ws, start=RESUMABLE) as caller:
        await caller.stop()
    await eventually(lambda: service.lifecycle.sessions == 0)
    await asyncio.sleep(0.4)
    await refusal(service, session_id(caller), ErrorCode.SESSION_NOT_FOUND)


async def test_a_parked_session_keeps_its_place_and_few_may_wait(start_service: Start) -> None:
    service = start_service(limits=LimitsConfig(max_sessions=2), resume=ResumeConfig(max_parked=1))
    callers = []
    for _ in range(2):
        async with session(service.ws, start=RESUMABLE) as caller:
            await hear_ack(caller, 1)
            await lose(caller)
        callers.append(caller)
    await eventually(lambda: service.lifecycle.sessions == 1)
    async with session(service.ws, start=PLAIN) as other:
        with pytest.raises(InvalidStatus):
            await session(service.ws).__aenter__()
        async with resumed(service, session_id(callers[0])) as (back, _):
            await back.stop()
        await refusal(service, session_id(callers[1]), ErrorCode.SESSION_NOT_FOUND)
        await other.stop()
    assert service.metric("voice_asr_resumed_total") == 1


async def test_a_session_belongs_to_its_key(start_service: Start) -> None:
    server = ServerConfig.model_validate({"api_keys": ["red", "blue"], "drain_s": 0.5})
    service = start_service(server=server)
    red, blue = (
        dict[str, Any](additional_headers={"Authorization": f"Bearer {key}"})
        for key in ("red", "blue")
    )
    async with session(service.ws, start=RESUMABLE, **red) as caller:
        await caller.audio(SECOND)
        await hear_ack(caller, 11)
        await lose(caller)
    await refusal(service, session_id(caller), ErrorCode.SESSION_NOT_FOUND, **blue)
    with pytest.raises(InvalidStatus):
        await session(service.ws, query="?session_id=x").__aenter__()
    async with resumed(service, session_id(caller), **red) as (second, _):
        await second.stop()
    assert second.text == "w4 w4 w4 w4 w4"


def bearing(key: str) -> dict[str, Any]:
    return {"additional_headers": {"Authorization": f"Bearer {key}"}}


KEYS = ServerConfig.model_validate({"api_keys": ["red", "blue"], "drain_s": 0.5})


async def test_one_keys_parked_sessions_do_not_keep_anothers_out(start_service: Start) -> None:
    service = start_service(server=KEYS, resume=ResumeConfig(max_parked=2))
    callers = []
    for number, key in enumerate(("red", "red", "blue", "blue"), 1):
        async with session(service.ws, start=RESUMABLE, **bearing(key)) as caller:
            await hear_ack(caller, 1)
            await lose(caller)
        callers.append(caller)
        await eventually(
            lambda: service.metric("voice_asr_parked_sessions") == min(number, 2)  # noqa: B023
        )
        await eventually(lambda: service.lifecycle.sessions == min(number, 2))  # noqa: B023
    gone = {"red": callers[0], "blue": callers[3]}
    for key, caller in gone.items():
        await refusal(service, session_id(caller), ErrorCode.SESSION_NOT_FOUND, **bearing(key))
    for key, caller in (("red", callers[1]), ("blue", callers[2])):
        async with resumed(service, session_id(caller), **bearing(key)) as (back, _):
            await back.stop()
    assert service.metric("voice_asr_parked_sessions") == 0


async def test_one_keys_last_words_do_not_push_anothers_out(start_service: Start) -> None:
    service = start_service(server=KEYS, resume=ResumeConfig(max_parked=2))
    callers = []
    for key in ("blue", "red", "red", "red"):
        async with session(service.ws, start=RESUMABLE, **bearing(key)) as caller:
            await caller.stop()
        callers.append(caller)
    await eventually(lambda: service.lifecycle.sessions == 0)
    async with resumed(service, session_id(callers[0]), **bearing("blue")) as (back, _):
        await back.hear(Stopped)
    async with resumed(service, session_id(callers[3]), **bearing("red")) as (back, _):
        await back.hear(Stopped)
    await refusal(service, session_id(callers[1]), ErrorCode.SESSION_NOT_FOUND, **bearing("red"))


async def test_a_key_does_not_hammer_at_sessions(start_service: Start) -> None:
    service = start_service(server=KEYS, limits=LimitsConfig(max_sessions=2))
    query = "?session_id=x&last_event=0"

    async def attempts(key: str) -> list[int]:
        statuses = []
        for _ in range(22):
            try:
                async with session(service.ws, query=query, ready=False, **bearing(key)):
                    statuses.append(101)
            except InvalidStatus as refused:
                statuses.append(refused.response.status_code)
        return statuses

    statuses = await attempts("red")
    assert statuses[:20] == [101] * 20 and 429 in statuses
    assert (await attempts("blue"))[0] == 101


async def test_events_that_are_not_kept_any_more(start_service: Start) -> None:
    service = start_service(resume=ResumeConfig(replay_bytes=4096))
    async with session(service.ws, start=RESUMABLE) as caller:
        for _ in range(40):
            await caller.say(type="flush")
        while len(caller.all(Final)) < 40:
            await caller.next()
        await lose(caller)
    error = await refusal(service, session_id(caller), ErrorCode.EVENTS_LOST)
    assert "40 events were missed" in error.message
    error = await refusal(service, session_id(caller), ErrorCode.INVALID_MESSAGE, last_event=41)
    async with resumed(service, session_id(caller), 38) as (second, _):
        await second.stop()
    assert numbers(second) == [39, 40, 41]


class VerboseEngine(FakeEngine):
    """Answers at a length that fills the buffers of the network."""

    def transcribe(self, requests: Sequence[DecodeRequest]) -> list[Hypothesis | Exception]:
        return [Hypothesis(text="word " * 40_000) for _ in requests]


async def test_a_reader_who_stalls_may_come_back(start_service: Start) -> None:
    service = start_service(
        engine_is=VerboseEngine(),
        limits=LimitsConfig(send_s=0.5),
        resume=ResumeConfig(replay_bytes=32 << 20),
    )
    host, port = service.address.split(":")
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.connect((host, int(port)))
    stalled: dict[str, Any] = {"sock": narrow, "max_queue": 1, "close_timeout": 0.1}
    async with session(service.ws, start=RESUMABLE, **stalled) as first:
        for _ in range(40):
            await first.audio(pcm(tone(400, 200)))
            await first.say(type="flush")
        await eventually(lambda: service.metric("voice_asr_parked_sessions") == 1, 20)
        assert service.metric("voice_errors_total", code="slow_client") == 1
        async with resumed(service, session_id(first)) as (second, answer):
            assert answer.received == 1 + 3 * 40
            await second.stop()
    assert len(second.all(Final)) == 40
    assert numbers(second) == list(range(1, len(numbers(second)) + 1))


async def test_what_was_missed_is_told_once_also_when_the_session_ends_with_it(
    start_service: Start,
) -> None:
    service = start_service(limits=LimitsConfig(idle_s=1.0))
    async with session(service.ws, start=RESUMABLE) as first:
        await first.audio(TURN)
        await first.hear(Final)
        first.socket.transport.abort()
    async with resumed(service, session_id(first), last_event=0) as (second, _):
        await second.hear_error(ErrorCode.IDLE_TIMEOUT)
        await second.closed()
    assert numbers(second) == list(range(1, len(numbers(second)) + 1))


def test_metrics_are_there(live: LiveService) -> None:
    text = httpx.get(f"{live.http}/metrics", trust_env=False).text
    for name in ("parked_sessions", "resumed_total", "expired_total"):
        assert f"# HELP voice_asr_{name}" in text
