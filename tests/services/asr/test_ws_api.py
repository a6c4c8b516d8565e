"""The protocol as it goes over the wire, with a recogniser that reads tones."""

import asyncio
import socket
import time
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

import services.asr.service
from services.asr.engines.base import DecodeRequest, Hypothesis
from services.asr.engines.fake import FakeEngine
from services.asr.messages import (
    Final,
    Partial,
    Ready,
    SpeechStarted,
    Stopped,
    TurnPending,
    TurnResumed,
)
from services.shared.protocol.base import PROTOCOL_VERSION, Error, ErrorCode
from services.shared.runtime.config import LimitsConfig, ServerConfig
from services.shared.runtime.lifecycle import Phase
from services.shared.vad.base import Floats
from services.shared.vad.energy import EnergyVad
from tests.services.asr.client import recognise, session
from tests.services.asr.conftest import Start
from tests.services.asr.sounds import joined, pcm, silence, tone
from tests.services.serving import LiveService, eventually

SECOND = pcm(tone(400, 1000))
"""Reads "w4 w4 w4 w4 w4"."""
TURN = pcm(joined(silence(200), tone(400, 1000), silence(900)))


def turn_ends(caller_log: list[Final]) -> int:
    return sum(final.turn_end for final in caller_log)


async def test_ready_tells_what_listens(live: LiveService) -> None:
    async with session(live.ws, ready=False) as caller:
        ready = await caller.hear(Ready)
        assert caller.log == [ready]
    assert ready.protocol == PROTOCOL_VERSION
    assert ready.model == "fake"
    assert ready.languages == ("en", "vi")
    assert len(ready.session_id) == 32


async def test_one_turn_from_the_first_sound_to_the_goodbye(live: LiveService) -> None:
    caller = await recognise(live.ws, TURN)
    [started], [final] = caller.all(SpeechStarted), caller.all(Final)
    assert caller.kinds()[:2] == ["ready", "speech_started"]
    assert 150 <= started.start_ms <= 250
    assert final.text.split()[1:-1] == ["w4"] * (len(final.text.split()) - 2)
    assert 4 <= len(final.text.split()) <= 6
    assert final.turn_end
    assert (final.language, final.confidence, final.suppressed) == ("en", 1.0, None)
    assert final.start_ms == started.start_ms
    assert 1150 <= final.end_ms <= 1300
    assert final.words is None
    assert final.timings.batch_size >= 1
    assert final.timings.total_ms >= 0
    stopped = caller.all(Stopped)[0]
    assert stopped == Stopped(received_ms=2100, speech_ms=stopped.speech_ms, dropped_ms=0)
    assert 950 <= stopped.speech_ms <= 1100


async def test_a_silent_session_is_answered_too(live: LiveService) -> None:
    async with session(live.ws) as caller:
        stopped = await caller.stop()
    assert caller.kinds() == ["ready", "stopped"]
    assert stopped == Stopped(received_ms=0, speech_ms=0, dropped_ms=0)


async def test_partials_grow_and_their_promise_is_kept(live: LiveService) -> None:
    async with session(live.ws) as caller:
        speech = pcm(tone(400, 3000))
        for at in range(0, len(speech), 6400):
            await caller.audio(speech[at : at + 6400])
            await asyncio.sleep(0.03)
        await caller.stop()
    partials, [final] = caller.all(Partial), caller.all(Final)
    assert len(partials) >= 3
    stable = ""
    for partial in partials:
        assert partial.text.startswith(partial.stable_text)
        assert partial.stable_text.startswith(stable)
        assert partial.start_ms == final.start_ms
        assert partial.start_ms < partial.end_ms <= 3000
        stable = partial.stable_text
    assert stable
    assert final.text.startswith(stable)
    ends = [partial.end_ms for partial in partials]
    assert ends == sorted(ends)


async def test_partials_can_be_switched_off(live: LiveService) -> None:
    caller = await recognise(live.ws, pcm(tone(400, 3000)), partials=False)
    assert caller.all(Partial) == []
    assert caller.all(Final)[0].text


async def test_words_have_times_in_the_session_when_asked_for(live: LiveService) -> None:
    two = pcm(joined(tone(400, 800), silence(1000), tone(900, 800), silence(300)))
    turn = {"mode": "silence", "silence_ms": 500}
    caller = await recognise(live.ws, two, word_timestamps=True, turn=turn)
    first, second = caller.all(Final)
    assert first.words is not None
    assert second.words is not None
    assert {word.word for word in second.words} >= {"w9"}
    assert [word.word for word in first.words] == first.text.split()
    at = 0
    for word in first.words + second.words:
        assert at <= word.start_ms < word.end_ms
        at = word.end_ms
    assert 1700 <= second.words[0].start_ms + 200 <= 2200
    assert at <= 2900


async def test_the_language_may_be_named_with_its_region(live: LiveService) -> None:
    caller = await recognise(live.ws, TURN, language="vi-VN")
    assert caller.all(Final)[0].language == "vi"


async def test_mode_silence_waits_as_long_as_it_is_told(live: LiveService) -> None:
    pause = pcm(joined(tone(400, 600), silence(700), tone(400, 600), silence(200)))
    long = await recognise(live.ws, pause, turn={"mode": "silence", "silence_ms": 1000})
    short = await recognise(live.ws, pause, turn={"mode": "silence", "silence_ms": 300})
    assert turn_ends(long.all(Final)) == 1
    assert turn_ends(short.all(Final)) == 2


async def test_mode_smart_asks_the_turn_model(live: LiveService) -> None:
    turn = {"mode": "smart", "max_silence_ms": 30_000}
    async with session(live.ws, start={"turn": turn}) as caller:
        for _ in range(2):
            await caller.audio(pcm(joined(tone(400, 600), silence(400))))
            assert (await caller.hear(Final)).turn_end
        await caller.stop()
    assert len(caller.all(Final)) == 2


async def test_mode_manual_ends_turns_on_flush_only(live: LiveService) -> None:
    pauses = pcm(joined(tone(400, 600), silence(3000), tone(400, 600), silence(3000)))
    async with session(live.ws, start={"turn": {"mode": "manual"}}) as caller:
        await caller.audio(pauses)
        await caller.say(type="flush")
        final = await caller.hear(Final)
        assert final.turn_end
        assert len(final.text.split()) >= 6
        await caller.audio(SECOND)
        await caller.stop()
    assert turn_ends(caller.all(Final)) == 2


async def test_speech_that_goes_on_resumes_the_turn(live: LiveService) -> None:
    async with session(live.ws, start={"turn": {"mode": "silence", "silence_ms": 5000}}) as caller:
        await caller.audio(pcm(joined(tone(400, 800), silence(300))))
        pending = await caller.hear(TurnPending)
        assert pending.text.split()[0] == "w4"
        await caller.audio(pcm(tone(400, 600)))
        await caller.hear(TurnResumed)
        await caller.stop()
    [final] = caller.all(Final)
    assert len(final.text.split()) > len(pending.text.split())


async def test_each_flush_is_answered_by_one_final(live: LiveService) -> None:
    async with session(live.ws) as caller:
        await caller.say(type="flush")
        empty = await caller.hear(Final)
        assert (empty.text, empty.turn_end) == ("", True)
        for hertz in (400, 700, 1000):
            await caller.audio(pcm(tone(hertz, 700)))
            await caller.say(type="flush")
            final = await caller.hear(Final)
            assert final.turn_end
            assert f"w{hertz // 100}" in final.text
        await caller.stop()
    assert turn_ends(caller.all(Final)) == 4


async def test_silence_ends_the_turn_of_a_caller_who_stops_sending(live: LiveService) -> None:
    async with session(live.ws, start={"turn": {"mode": "silence", "silence_ms": 300}}) as caller:
        await caller.audio(SECOND)
        began = time.monotonic()
        final = await caller.hear(Final)
        assert final.turn_end
        assert time.monotonic() - began < 10


async def test_a_long_turn_comes_in_several_finals(live: LiveService) -> None:
    caller = await recognise(live.ws, pcm(tone(400, 62_000)), partials=False)
    finals = caller.all(Final)
    assert len(finals) == 3
    assert [final.turn_end for final in finals] == [False, False, True]
    assert 300 <= len(caller.text.split()) <= 320
    for before, after in zip(finals, finals[1:], strict=False):
        assert before.end_ms <= after.start_ms
    assert caller.all(Stopped)[0].received_ms == 62_000


@pytest.mark.parametrize(
    ("encoding", "rate", "channels"),
    [
        ("pcm_s16le", 16_000, 1),
        ("pcm_s16le", 44_100, 2),
        ("pcm_f32le", 48_000, 2),
        ("pcm_f32le", 8_000, 1),
        ("mulaw", 8_000, 1),
        ("alaw", 8_000, 1),
        ("alaw", 16_000, 2),
    ],
)
async def test_every_raw_encoding_is_heard(
    live: LiveService, encoding: str, rate: int, channels: int
) -> None:
    sound = joined(silence(300), tone(600, 1200), silence(500))
    data = pcm(sound, encoding, rate, channels)
    caller = await recognise(
        live.ws, data, encoding=encoding, sample_rate=rate, channels=channels, partials=False
    )
    heard = caller.text.split()
    assert set(heard[1:-1]) == {"w6"}
    assert 5 <= len(heard) <= 7
    assert caller.all(Stopped)[0].received_ms == 2000
    assert caller.all(Stopped)[0].dropped_ms == 0


@settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(sizes=st.lists(st.integers(1, 9000), min_size=1, max_size=12))
def test_chunking_does_not_change_what_is_heard(live: LiveService, sizes: list[int]) -> None:
    data = pcm(joined(silence(100), tone(400, 900), silence(600), tone(900, 500), silence(400)))
    chunks: list[bytes] = []
    at = turn = 0
    while at < len(data):
        # Tiny chunks are for the rate limit's test: here their number is bounded.
        size = max(sizes[turn % len(sizes)], 100 if len(chunks) > 200 else 1)
        chunks.append(data[at : at + size])
        at, turn = at + size, turn + 1
    options = {"partials": False, "word_timestamps": True}
    options["turn"] = {"mode": "silence", "silence_ms": 300}  # type: ignore[assignment]
    chunked = asyncio.run(recognise(live.ws, chunks, **options)).all(Final)
    whole = asyncio.run(recognise(live.ws, [data], **options)).all(Final)
    untimed = [final.model_copy(update={"timings": whole[0].timings}) for final in chunked]
    assert untimed == [final.model_copy(update={"timings": whole[0].timings}) for final in whole]
    assert len(whole) == 2


async def test_many_callers_at_once_hear_their_own_words(live: LiveService) -> None:
    pitches = range(300, 2300, 100)
    callers = await asyncio.gather(
        *(recognise(live.ws, pcm(joined(tone(hertz, 1500), silence(300)))) for hertz in pitches)
    )
    for hertz, caller in zip(pitches, callers, strict=True):
        assert set(caller.text.split()[1:-1]) == {f"w{hertz // 100}"}
    await eventually(lambda: live.lifecycle.sessions == 0)


class BrokenEngine(FakeEngine):
    """Fails for a while, in one way or the other."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = True
        self.hang_s = 0.0

    def transcribe(self, requests: list[DecodeRequest]) -> list[Hypothesis | Exception]:  # type: ignore[override]
        if self.broken and self.hang_s:
            time.sleep(self.hang_s)
        if self.broken:
            raise RuntimeError("the model is gone")
        return super().transcribe(requests)


async def test_an_engine_that_raises_costs_the_turn_and_not_the_session(
    start_service: Start,
) -> None:
    engine = BrokenEngine()
    service = start_service(engine_is=engine)
    async with session(service.ws) as caller:
        await caller.audio(SECOND)
        await caller.say(type="flush")
        error = await caller.hear_error(ErrorCode.ENGINE_FAILED)
        assert error.retryable
        lost = await caller.hear(Final)
        assert (lost.text, lost.suppressed, lost.turn_end) == ("", "engine_failed", True)
        engine.broken = False
        await caller.audio(SECOND)
        await caller.say(type="flush")
        assert (await caller.hear(Final)).text == "w4 w4 w4 w4 w4"
        await caller.stop()
    assert len(caller.all(Error)) == 1
    assert service.metric("voice_errors_total", code="engine_failed") == 1


@pytest.mark.real_time
async def test_an_engine_that_hangs_is_given_up(start_service: Start) -> None:
    engine = BrokenEngine()
    engine.hang_s = 1.0
    service = start_service(engine_is=engine, engine_timeout_s=0.3)
    async with session(service.ws, start={"partials": False}) as caller:
        await caller.audio(SECOND)
        await caller.say(type="flush")
        await caller.hear_error(ErrorCode.ENGINE_FAILED)
        assert (await caller.hear(Final)).suppressed == "engine_failed"
        engine.broken = False
        await eventually(lambda: service.lifecycle.owners[2].busy_for() == 0)
        await caller.audio(SECOND)
        await caller.say(type="flush")
        assert (await caller.hear(Final)).text == "w4 w4 w4 w4 w4"
        await caller.stop()


class StuckVad(EnergyVad):
    """Never comes back in time."""

    def probabilities(self, frames: Floats, states: list[Floats]) -> tuple[Floats, list[Floats]]:
        time.sleep(0.6)
        return super().probabilities(frames, states)


async def test_ears_that_hang_end_the_session_with_an_error(
    start_service: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services.asr.service, "create_vad", lambda *_: StuckVad())
    service = start_service(engine_timeout_s=0.2)
    async with session(service.ws) as caller:
        await caller.audio(SECOND)
        await caller.hear_error(ErrorCode.INTERNAL, close=1011)
    await eventually(lambda: service.lifecycle.sessions == 0)


async def test_a_client_that_vanishes_mid_turn_leaves_nothing_behind(start_service: Start) -> None:
    service = start_service(delay_ms=300)
    await asyncio.sleep(0.1)
    before = service.tasks()
    for _ in range(5):
        async with session(service.ws) as caller:
            await caller.audio(SECOND)
            caller.socket.transport.abort()
    await eventually(lambda: service.lifecycle.sessions == 0)
    await eventually(lambda: all(owner.pending == 0 for owner in service.lifecycle.owners))  # type: ignore[attr-defined]
    await eventually(lambda: service.tasks() <= before)
    assert (await recognise(service.ws, TURN)).text


class VerboseEngine(FakeEngine):
    """Answers at a length that fills the buffers of the network."""

    def transcribe(self, requests: list[DecodeRequest]) -> list[Hypothesis | Exception]:  # type: ignore[override]
        return [Hypothesis(text="word " * 40_000) for _ in requests]


async def test_a_client_that_never_reads_is_cut_off(start_service: Start) -> None:
    service = start_service(engine_is=VerboseEngine(), limits=LimitsConfig(send_s=0.5))
    host, port = service.address.split(":")
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.connect((host, int(port)))
    slow: dict[str, Any] = {"sock": narrow, "max_queue": 1, "close_timeout": 0.1}
    async with session(service.ws, start={"partials": False}, **slow) as caller:
        with pytest.raises(ConnectionClosed):
            async with asyncio.timeout(20):
                while True:
                    await caller.audio(pcm(tone(400, 100)))
                    await caller.say(type="flush")
    await eventually(lambda: service.lifecycle.sessions == 0)
    assert service.metric("voice_errors_total", code="slow_client") == 1
    assert (await recognise(service.ws, TURN)).text


async def test_one_session_too_many_is_refused_before_the_upgrade(start_service: Start) -> None:
    service = start_service(limits=LimitsConfig(max_sessions=1))
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    async with session(service.ws) as caller, httpx.AsyncClient(trust_env=False) as client:
        refused = await client.get(f"{service.http}/v1/stream/asr", headers=headers)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        error = Error.model_validate(refused.json())
        assert (error.code, error.retryable) == (ErrorCode.OVERLOADED, True)
        await caller.stop()
    await eventually(lambda: service.lifecycle.sessions == 0)
    assert (await recognise(service.ws, TURN)).text


async def test_a_live_session_outlives_the_signal_to_stop(start_service: Start) -> None:
    service = start_service(server=ServerConfig(drain_s=10))
    async with session(service.ws) as caller:
        await caller.audio(SECOND)
        service.terminate()
        await eventually(lambda: service.lifecycle.phase is Phase.DRAINING)
        async with httpx.AsyncClient(trust_env=False) as client:
            ready = await client.get(f"{service.http}/health/ready")
            assert (ready.status_code, ready.json()["ready"]) == (503, False)
            refused = await client.post(f"{service.http}/v1/transcribe")
        assert refused.status_code == 503
        assert refused.json()["code"] == "shutting_down"
        await caller.audio(SECOND)
        await caller.stop()
    assert len(caller.text.split()) == 10
    await eventually(lambda: not service.running)


async def test_a_session_that_outlives_the_drain_is_told(start_service: Start) -> None:
    service = start_service(server=ServerConfig(drain_s=0.2))
    async with session(service.ws) as caller:
        await caller.audio(SECOND)
        service.terminate()
        await caller.hear_error(ErrorCode.SHUTTING_DOWN, close=1012)
