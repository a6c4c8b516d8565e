"""`WS /v1/stream/tts` as clients meet it: a real socket, a real server, tones for speech."""

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from itertools import pairwise

import httpx
import numpy as np
import pytest
from pydantic import SecretStr
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from services.shared.audio.pcm import AudioFormat, Encoding
from services.shared.protocol.base import Error, ErrorCode
from services.shared.runtime.config import LimitsConfig, ServerConfig
from services.shared.runtime.lifecycle import Phase
from services.tts.app import create_app
from services.tts.config import TtsConfig
from services.tts.engines.fake import SAMPLE_RATE, word_hertz
from services.tts.messages import (
    AudioFinished,
    AudioStarted,
    Cancel,
    Cancelled,
    Close,
    End,
    Flush,
    Flushed,
    Ready,
    Start,
    Text,
    Words,
)
from tests.services.serving import LiveService, eventually, loop_lag, serving
from tests.services.tts.client import Speaker, heard_tones, open_streams, session, tone_at
from tests.services.tts.conftest import StartService, tones

WORD_MS = 20
"""How long the slow service takes for a word."""
LONG = "wonderful " * 60
RATES = (8000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000)


@pytest.fixture(scope="module")
def slow() -> Iterator[LiveService]:
    """A service whose engine needs a while for each word."""
    config = TtsConfig(engines=tones(WORD_MS))
    with serving(create_app(config), config.limits) as service:
        yield service


async def idle(service: LiveService) -> None:
    """Wait until nobody is served and the engine holds nothing."""
    await eventually(lambda: service.lifecycle.sessions == 0)
    await eventually(lambda: open_streams() == 0)


# What a well-behaved client gets.


async def test_text_in_fragments_becomes_audio_with_words_flush_and_end(live: LiveService) -> None:
    async with session(live.ws) as speaker:
        await speaker.send(Start(context_id="a", word_timestamps=True))
        await speaker.send(*(Text(text=part) for part in ("Hel", "lo wor", "ld", ". Aga")), Flush())
        flushed = await speaker.hear(Flushed)
        assert flushed.audio_ms * SAMPLE_RATE // 1000 == len(speaker.audio()) // 2
        await speaker.send(Text(text=" more words"), End())
        finished = await speaker.hear(AudioFinished)
        await speaker.send(Close())
        assert await speaker.closed() == 1000

    words = [word for message in speaker.all(Words) for word in message.words]
    spoken = ["Hello", "world.", "Aga", "more", "words"]
    assert [word.word for word in words] == spoken
    assert [word.end_ms - word.start_ms for word in words] == [40 * len(word) for word in spoken]
    assert all(one.end_ms + 20 == two.start_ms for one, two in pairwise(words))
    np.testing.assert_allclose(
        heard_tones(speaker.audio(), spoken), [word_hertz(word) for word in spoken], atol=6
    )
    assert finished.audio_ms == len(speaker.audio()) // 2 * 1000 // SAMPLE_RATE
    assert finished.first_audio_ms is not None
    kinds = speaker.kinds()
    assert kinds[:2] == ["ready", "audio_started"]
    assert kinds.count("audio_started") == 1
    assert kinds[-1] == "audio_finished"


async def test_ready_tells_the_session_and_the_voices(live: LiveService) -> None:
    async with session(live.ws, ready=False) as first, session(live.ws, ready=False) as second:
        ready, other = await first.hear(Ready), await second.hear(Ready)
    assert ready.voices == ("fake-en", "fake-vi")
    assert ready.default_voice == "fake-en"
    assert ready.protocol == 1
    assert ready.session_id != other.session_id


async def test_contexts_are_spoken_in_the_order_of_their_start(live: LiveService) -> None:
    async with session(live.ws) as speaker:
        await speaker.send(Start(context_id="a"), Start(context_id="b", encoding=Encoding.MULAW))
        await speaker.send(Text(text="behind", context_id="b"), End(context_id="b"))
        await speaker.send(Text(text="in front", context_id="a"), End(context_id="a"))
        await speaker.send(Close())
        assert await speaker.closed() == 1000
    assert [each.context_id for each in speaker.all(AudioFinished)] == ["a", "b"]
    assert speaker.kinds() == ["ready", *["audio_started", "audio", "audio_finished"] * 2]
    assert len(speaker.audio("a")) == 2 * SAMPLE_RATE * (80 + 20 + 200 + 20) // 1000
    assert len(speaker.audio("b")) == SAMPLE_RATE * (240 + 20) // 1000


@pytest.mark.parametrize("encoding", list(Encoding))
async def test_every_encoding_at_every_rate_has_the_right_length_and_pitch(
    live: LiveService, encoding: Encoding
) -> None:
    async with session(live.ws) as speaker:
        for rate in RATES:
            name = str(rate)
            await speaker.send(Start(context_id=name, encoding=encoding, sample_rate=rate))
            await speaker.send(Text(text="telephone exchange"), End())
            started = await speaker.hear(AudioStarted)
            assert (started.encoding, started.sample_rate) == (encoding, rate)
            finished = await speaker.hear(AudioFinished)
            assert finished.audio_ms == 9 * 40 + 8 * 40 + 2 * 20
            samples = AudioFormat(encoding, rate).decode(speaker.audio(name))
            assert len(samples) == finished.audio_ms * rate // 1000
            assert np.sqrt(np.mean(samples**2)) == pytest.approx(0.3 / 2**0.5, rel=0.06)
            tone = tone_at(samples[: 360 * rate // 1000], rate)
            assert tone == pytest.approx(word_hertz("telephone"), abs=5)


async def test_speed_divides_the_time(live: LiveService) -> None:
    async with session(live.ws) as speaker:
        await speaker.send(Start(speed=2.0), Text(text="wonderful"), End())
        assert (await speaker.hear(AudioFinished)).audio_ms == (9 * 40 + 20) // 2


async def test_text_without_anything_to_speak_ends_without_audio(live: LiveService) -> None:
    async with session(live.ws) as speaker:
        await speaker.send(Start(), Text(text=" 😀 … \n"), Flush(), End(), Close())
        assert await speaker.closed() == 1000
    assert speaker.kinds() == ["ready", "flushed", "audio_finished"]


async def test_an_unfinished_beginning_is_spoken_after_a_pause(live: LiveService) -> None:
    async with session(live.ws) as speaker:
        await speaker.send(Start(), Text(text="well this is a beginning without a"))
        await speaker.hear(AudioStarted)


async def test_ten_sessions_hear_their_own_words_only(live: LiveService) -> None:
    async def converse(number: int) -> None:
        words = [f"word{'klmnopqrst'[number]}{letter}" for letter in "abcde"]
        async with session(live.ws) as speaker:
            await speaker.send(Start())
            for word in words:
                await speaker.send(Text(text=f"{word} "))
                await asyncio.sleep(0.005 * (number % 3))
            await speaker.send(End(), Close())
            assert await speaker.closed() == 1000
        np.testing.assert_allclose(
            heard_tones(speaker.audio(), words), [word_hertz(word) for word in words], atol=6
        )

    async with asyncio.TaskGroup() as group:
        for number in range(10):
            group.create_task(converse(number))
    await idle(live)


# Cancel.


async def test_after_cancelled_not_one_more_byte(slow: LiveService) -> None:
    async with session(slow.ws) as speaker:
        await speaker.send(Start(context_id="a"), Text(text=LONG), Flush())
        while len(speaker.audio()) < SAMPLE_RATE * 2:
            await speaker.next()
        await speaker.send(Cancel())
        cancelled = await speaker.hear(Cancelled)
        assert cancelled.sent_ms == len(speaker.audio()) // 2 * 1000 // SAMPLE_RATE
        assert cancelled.spoken_text
        assert LONG.startswith(cancelled.spoken_text)
        await eventually(lambda: open_streams() == 0)
        made = slow.metric("voice_tts_audio_seconds_total")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(4 * WORD_MS / 1000):
                await speaker.socket.recv()
        assert slow.metric("voice_tts_audio_seconds_total") == made
        assert slow.metric("voice_model_queue_length", model="tts_fake") == 0
        assert slow.metric("voice_tts_cancelled_total") >= 1


async def test_the_engine_serves_the_next_context_at_once_after_a_cancel(slow: LiveService) -> None:
    async with session(slow.ws) as speaker:
        await speaker.send(Start(context_id="a"), Text(text=LONG), End())
        await speaker.hear(AudioStarted)
        asked = time.monotonic()
        async with loop_lag() as lag:
            await speaker.send(Cancel(context_id="a"))
            await speaker.send(Start(context_id="b"), Text(text="next"), End(), Close())
            assert await speaker.closed() == 1000
        assert time.monotonic() - asked < 0.5 + lag.total_s
    assert [each.context_id for each in speaker.all(AudioFinished)] == ["b"]
    assert heard_tones(speaker.audio("b"), ["next"]) == pytest.approx([word_hertz("next")], abs=6)


async def test_cancel_at_another_rate_lacks_only_what_the_resampler_holds(
    slow: LiveService,
) -> None:
    async with session(slow.ws) as speaker:
        await speaker.send(Start(encoding=Encoding.MULAW, sample_rate=8000), Text(text=LONG))
        while len(speaker.audio()) < 8000:
            await speaker.next()
        cancelled = await speaker.send(Cancel())
        sent_ms = (await cancelled.hear(Cancelled)).sent_ms
    assert 0 <= sent_ms - len(speaker.audio()) / 8 <= 30


# Clients that read slowly, not at all, or vanish.


async def test_synthesis_is_held_back_for_a_slow_reader(live: LiveService) -> None:
    before = live.metric("voice_tts_audio_seconds_total")
    whole_s = 3.8 * 400
    async with session(live.ws, max_queue=1) as speaker:
        await speaker.send(Start(encoding=Encoding.PCM_F32LE, sample_rate=48_000))
        await speaker.send(Text(text="wonderful " * 400), Flush())
        made = await steady(live)
        assert made - before < whole_s / 10
        assert live.tasks() < 30
        await speaker.send(Cancel())
        cancelled = await speaker.hear(Cancelled)
        assert cancelled.sent_ms - len(speaker.audio()) / 192 == pytest.approx(0, abs=30)
    await idle(live)


async def steady(service: LiveService) -> float:
    """Wait until no more audio is made; gives how much there is, seconds."""
    made = -1.0
    async with asyncio.timeout(10):
        while made != (now := service.metric("voice_tts_audio_seconds_total")):
            made = now
            await asyncio.sleep(0.25)
    return made


async def test_a_slow_reader_gets_every_message_before_the_close(live: LiveService) -> None:
    async with session(live.ws, max_queue=1) as speaker:
        start = Start(encoding=Encoding.PCM_F32LE, sample_rate=48_000)
        await speaker.send(start, Text(text="wonderful " * 150), Flush(), End(), Close())
        await asyncio.sleep(0.3)
        assert await speaker.closed() == 1000
    assert speaker.kinds() == ["ready", "audio_started", "audio", "flushed", "audio_finished"]


async def test_a_client_that_never_reads_is_cut_off(start_service: StartService) -> None:
    service = await start_service(limits=LimitsConfig(send_s=0.4))
    async with (
        session(service.ws, max_queue=1, close_timeout=0.1) as deaf,
        session(service.ws) as speaker,
    ):
        start = Start(encoding=Encoding.PCM_F32LE, sample_rate=48_000)
        await deaf.send(start, Text(text="wonderful " * 400), Flush())
        await eventually(lambda: service.lifecycle.sessions == 1)
        assert service.metric("voice_errors_total", code="slow_client") == 1
        await speaker.send(Start(), Text(text="fine"), End())
        await speaker.hear(AudioFinished)
    await idle(service)


async def test_a_client_that_vanishes_frees_the_engine(slow: LiveService) -> None:
    await idle(slow)
    tasks = slow.tasks()
    async with session(slow.ws) as speaker:
        await speaker.send(Start(), Text(text=LONG), Flush())
        await speaker.hear(AudioStarted)
        speaker.socket.transport.abort()
    await idle(slow)
    await eventually(lambda: slow.tasks() <= tasks)
    assert slow.metric("voice_model_queue_length", model="tts_fake") == 0


# Engines that fail.


@pytest.mark.parametrize(
    ("word", "told"), [("FAIL", "told to fail"), ("CRASH", "the engine failed on this text")]
)
async def test_an_engine_failure_ends_its_context_only(
    live: LiveService, word: str, told: str
) -> None:
    async with session(live.ws) as speaker:
        await speaker.send(Start(context_id="a"), Text(text=f"before {word} after"), Flush())
        error = await speaker.hear_error(ErrorCode.ENGINE_FAILED)
        assert error.context_id == "a"
        assert told in error.message
        assert error.retryable
        assert heard_tones(speaker.audio("a"), ["before"])
        await speaker.send(Text(text="late", context_id="a"))
        await speaker.send(Start(context_id="b"), Text(text="fine"), End(), Close())
        assert await speaker.closed() == 1000
    assert [each.context_id for each in speaker.all(AudioFinished)] == ["b"]
    await idle(live)


async def test_an_engine_that_hangs_fails_its_context(start_service: StartService) -> None:
    service = await start_service(delay_ms=300, engine_timeout_s=0.1)
    async with session(service.ws) as speaker:
        await speaker.send(Start(context_id="a"), Text(text="one two"), End())
        error = await speaker.hear_error(ErrorCode.ENGINE_FAILED)
        assert "0.1 s" in error.message
        await eventually(lambda: open_streams() == 0)
        await speaker.send(Close())
        assert await speaker.closed() == 1000


# Bad input.

START = '{"type":"start"}'


@pytest.mark.parametrize(
    ("frames", "code", "told", "close"),
    [
        ([START, b"\0\0"], "unexpected_message", "binary", 1008),
        (['{"type":"text","text":"a"}'], "unexpected_message", "start", 1008),
        (['{"type":"start","colour":1}'], "invalid_message", '"colour"', 1008),
        (['{"type":"start","sample_rate":7999}'], "invalid_message", '"sample_rate"', 1008),
        (['{"type":"start","encoding":"opus"}'], "invalid_message", "mulaw", 1008),
        (['{"type":"start","speed":"fast"}'], "invalid_message", '"speed"', 1008),
        (['{"type":"start","speed":NaN}'], "invalid_json", "JSON", 1007),
        (['{"type":"shout"}'], "invalid_message", "cancel, close, end", 1008),
        (['{"text":"a"}'], "invalid_message", '"type" is missing', 1008),
        (["hello"], "invalid_json", "not JSON", 1007),
        (["[1]"], "invalid_json", "object", 1007),
        (['{"type":' + "[" * 100_000], "invalid_json", "recursion", 1007),
        ([START, START.replace("}", ',"context_id":"context-1"}')], "unexpected_message", "", 1008),
        (['{"type":"text","text":"%s"}' % ("a" * (1 << 20))], "message_too_large", "limit", 1009),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_broken_message_ends_the_session_with_a_reason(
    live: LiveService, frames: list[str | bytes], code: str, told: str, close: int
) -> None:
    async with session(live.ws) as speaker:
        for frame in frames:
            await speaker.send_raw(frame)
        assert await speaker.closed() == close
    [error] = speaker.all(Error)
    assert error.code == code
    assert told in error.message
    assert speaker.socket.close_reason == code
    await idle(live)


async def test_a_frame_beyond_all_limits_is_refused_by_the_server(live: LiveService) -> None:
    async with session(live.ws) as speaker:
        with contextlib.suppress(ConnectionClosed):  # it may close while we still send
            await speaker.send_raw("a" * (5 << 20))
        assert await speaker.closed() == 1009


async def test_what_cannot_be_obeyed_leaves_the_session_alive(live: LiveService) -> None:
    async with session(live.ws) as speaker:
        await speaker.send(Start(voice="nobody"))
        assert "fake-en, fake-vi" in (await speaker.hear_error(ErrorCode.UNKNOWN_VOICE)).message
        await speaker.send(Start(context_id="a"), Text(text="a" * 20_001))
        error = await speaker.hear_error(ErrorCode.TEXT_TOO_LONG)
        assert error.context_id == "a"
        assert "20001" in error.message
        await speaker.send(*(Start() for _ in range(8)))
        assert "limit" in (await speaker.hear_error(ErrorCode.TOO_MANY_CONTEXTS)).message
        await speaker.send(Text(text="x", context_id="elsewhere"))
        assert "elsewhere" in (await speaker.hear_error(ErrorCode.UNKNOWN_CONTEXT)).message
        await speaker.send(Cancel(), Start(context_id="b"), Text(text="fine"), End(), Close())
        assert await speaker.closed() == 1000
    assert speaker.all(AudioFinished)[-1].context_id == "b"
    assert len(speaker.all(Cancelled)) == 8


async def test_ten_thousand_tiny_messages_are_too_many(live: LiveService) -> None:
    async with session(live.ws) as speaker:
        await speaker.send(Start())
        flood = asyncio.create_task(send_tiny(speaker, 10_000))
        assert await speaker.closed() == 1008
        flood.cancel()
    assert speaker.all(Error)[-1].code is ErrorCode.TOO_MANY_MESSAGES
    await idle(live)


async def send_tiny(speaker: Speaker, count: int) -> None:
    for _ in range(count):
        await speaker.send_raw('{"type":"text","text":"a "}')


async def test_tokens_as_fast_as_a_language_model_makes_them_are_welcome(live: LiveService) -> None:
    words = ["token"] * 300
    async with session(live.ws) as speaker:
        await speaker.send(Start(), *(Text(text=f"{word} ") for word in words), End(), Close())
        assert await speaker.closed() == 1000
    assert speaker.all(AudioFinished)[0].audio_ms == 220 * len(words)


# Time.


async def test_idle_means_neither_speaking_nor_being_listened_to(
    start_service: StartService,
) -> None:
    service = await start_service(delay_ms=50, limits=LimitsConfig(idle_s=0.25))
    async with session(service.ws) as speaker:
        await speaker.send(Start(), Text(text="one two three four five six seven eight"), End())
        begun = time.monotonic()
        finished = await speaker.hear(AudioFinished)
        assert time.monotonic() - begun > 0.4
        assert await speaker.closed() == 1008
        listened = time.monotonic() - begun
    assert speaker.all(Error)[0].code is ErrorCode.IDLE_TIMEOUT
    assert speaker.all(Error)[0].retryable
    assert listened > finished.audio_ms / 1000


async def test_draining_lets_the_context_finish_and_refuses_new_ones(
    start_service: StartService,
) -> None:
    service = await start_service(delay_ms=50, server=ServerConfig(drain_s=20.0))
    async with session(service.ws) as speaker:
        await speaker.send(Start(), Text(text="one two three four five six " * 5), End())
        await speaker.hear(AudioStarted)
        service.terminate()
        await eventually(lambda: service.lifecycle.phase is Phase.DRAINING)
        assert ready_status(service) == 503
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{service.ws}/v1/stream/tts", proxy=None)
        assert_refused(refused.value, 503, ErrorCode.SHUTTING_DOWN)
        finished = await speaker.hear(AudioFinished)
        assert finished.audio_ms == len(speaker.audio()) // 32
        assert await speaker.closed() == 1012
    [error] = speaker.all(Error)
    assert error.code is ErrorCode.SHUTTING_DOWN
    assert error.retryable
    await eventually(lambda: not service.running)


def ready_status(service: LiveService) -> int:
    return httpx.get(f"{service.http}/health/ready", trust_env=False).status_code


# Who may come in.


async def test_keys_are_asked_for_before_the_upgrade(start_service: StartService) -> None:
    service = await start_service(server=ServerConfig(api_keys=(SecretStr("s3cret"),), drain_s=0.5))
    url = f"{service.ws}/v1/stream/tts"
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, additional_headers=headers, proxy=None)
        assert_refused(refused.value, 401, ErrorCode.UNAUTHORIZED)
    async with session(service.ws, additional_headers={"Authorization": "Bearer s3cret"}):
        pass
    async with session(service.ws, subprotocols=["voice", "s3cret"]) as browser:
        assert browser.socket.subprotocol == "voice"


async def test_a_full_service_refuses_before_the_upgrade(start_service: StartService) -> None:
    service = await start_service(limits=LimitsConfig(max_sessions=1))
    async with session(service.ws):
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{service.ws}/v1/stream/tts", proxy=None)
        assert_refused(refused.value, 503, ErrorCode.OVERLOADED)
        assert int(refused.value.response.headers["Retry-After"]) > 0
    await idle(service)
    async with session(service.ws):
        pass


def assert_refused(refused: InvalidStatus, status: int, code: ErrorCode) -> None:
    assert refused.response.status_code == status
    assert json.loads(refused.response.body or b"")["code"] == code
