"""The ASR client over connections that are lost: it hears what it would have heard."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.asr.app import create_app
from services.asr.config import AdmissionConfig, AsrConfig
from services.asr.messages import (
    Encoding,
    Final,
    ServerMessage,
    SessionEvent,
    SpeechStarted,
    Start,
    Stopped,
    TurnMode,
    TurnOptions,
)
from services.client.asr import AsrStream, open_asr
from services.client.connection import ServiceError
from services.client.reconnect import Reconnect, ResumingAsrStream
from services.shared.models.store import ModelStore
from services.shared.protocol.base import Error
from services.shared.runtime.config import LimitsConfig, ServerConfig
from tests.services.asr.conftest import tones
from tests.services.asr.sounds import joined, opus_packets, pcm, recording, silence, tone
from tests.services.serving import LiveService, eventually, serving
from tests.services.unreliable import Cut, unreliable

QUICK = Reconnect(give_up_s=3.0, first_pause_s=0.01, longest_pause_s=0.1)
TURNS = pcm(joined(silence(100), tone(400, 900), silence(600), tone(900, 500), silence(700)))
START = Start(partials=False, turn=TurnOptions(mode=TurnMode.SILENCE, silence_ms=300))
LIMIT_S = 20.0


def chunks_of(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    chunks: list[bytes] = []
    at = turn = 0
    while at < len(data):
        chunks.append(data[at : at + sizes[turn % len(sizes)]])
        at, turn = at + len(chunks[-1]), turn + 1
    return chunks


def told(log: Sequence[ServerMessage]) -> list[ServerMessage]:
    """What does not depend on when the audio came: no timings, nothing eager, kind by kind."""
    found: list[ServerMessage] = []
    for message in log:
        if isinstance(message, Final):
            none = dict.fromkeys(type(message.timings).model_fields, 0)
            timings = message.timings.model_copy(update=none)
            found.append(message.model_copy(update={"timings": timings, "event": None}))
        elif isinstance(message, SpeechStarted | Stopped):
            found.append(message.model_copy(update={"event": None}))
    return sorted(found, key=lambda message: message.type)


def numbers(log: Sequence[ServerMessage]) -> list[int | None]:
    return [message.event for message in log if isinstance(message, SessionEvent | Error)]


@asynccontextmanager
async def stream_to(
    url: str, start: Start = START, options: Reconnect = QUICK, **key: Any
) -> AsyncIterator[ResumingAsrStream]:
    async with asyncio.timeout(LIMIT_S), open_asr(url, start, reconnect=options, **key) as stream:
        assert isinstance(stream, ResumingAsrStream)
        yield stream


async def converse(
    stream: AsrStream, chunks: Sequence[bytes], pause_s: float = 0.0
) -> list[ServerMessage]:
    async def speak() -> None:
        for chunk in chunks:
            await stream.send_audio(chunk)
            await asyncio.sleep(pause_s)
        await stream.flush()
        await stream.stop()

    speaking = asyncio.create_task(speak())
    try:
        return [message async for _, message in stream.events()]
    finally:
        await speaking


async def recognise(
    url: str, chunks: Sequence[bytes], start: Start = START, pause_s: float = 0.0
) -> tuple[list[ServerMessage], int]:
    async with stream_to(url, start) as stream:
        return await converse(stream, chunks, pause_s), stream.connections


cuts = st.lists(
    st.builds(Cut, up=st.integers(1, 40_000))
    # The service's first word must come: who never got in is not let down by a lost connection.
    | st.builds(Cut, down=st.integers(400, 2_000)),
    max_size=6,
)


@pytest.mark.slow
@settings(
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(cuts=cuts, sizes=st.lists(st.integers(81, 9000), min_size=1, max_size=5))
@example(cuts=[Cut(up=1)] * 6, sizes=[999])
@example(cuts=[Cut(up=300), Cut(up=30_001), Cut(down=400), Cut(down=700)], sizes=[641, 3])
def test_lost_connections_change_nothing(
    asr: LiveService, cuts: list[Cut], sizes: list[int]
) -> None:
    chunks = chunks_of(TURNS, sizes)

    async def disturbed() -> tuple[list[ServerMessage], int]:
        async with unreliable(asr.address, cuts) as proxy:
            return await recognise(proxy.ws, chunks, pause_s=0.001)

    undisturbed, _ = asyncio.run(recognise(asr.ws, chunks))
    log, _ = asyncio.run(disturbed())
    assert told(log) == told(undisturbed)
    assert numbers(log) == list(range(1, len(log) + 1))
    finals = [message for message in log if isinstance(message, Final)]
    assert sum(final.turn_end for final in finals) == 3


async def test_it_reconnects_more_than_once(asr: LiveService) -> None:
    cuts = [Cut(up=20_000), Cut(down=200), Cut(up=999)]
    async with unreliable(asr.address, cuts) as proxy:
        log, connections = await recognise(proxy.ws, chunks_of(TURNS, [3200]), pause_s=0.005)
        assert proxy.connections >= connections == 4
    undisturbed, _ = await recognise(asr.ws, [TURNS])
    assert told(log) == told(undisturbed)


async def test_a_proxy_that_restarts_costs_nobody_a_word(asr: LiveService) -> None:
    turn = TurnOptions(mode=TurnMode.SILENCE, silence_ms=300)
    start = Start(partials=True, turn=turn)
    pitches = range(300, 2300, 100)
    sounds = [pcm(joined(tone(hertz, 1500), silence(500))) for hertz in pitches]
    everybody = asyncio.Barrier(len(sounds) + 1)

    async def call(url: str, sound: bytes) -> tuple[list[ServerMessage], int]:
        async with stream_to(url, start) as stream:
            await everybody.wait()
            return await converse(stream, chunks_of(sound, [640]), 0.01), stream.connections

    async with unreliable(asr.address) as proxy:
        calls = [asyncio.create_task(call(proxy.ws, sound)) for sound in sounds]
        await everybody.wait()
        for _ in range(3):
            await asyncio.sleep(0.25)
            proxy.cut()
        heard = await asyncio.gather(*calls)
    for hertz, (log, connections) in zip(pitches, heard, strict=True):
        finals = [message.text for message in log if isinstance(message, Final)]
        assert set(" ".join(finals).split()[1:-1]) == {f"w{hertz // 100}"}
        assert numbers(log) == list(range(1, len(log) + 1))
        assert [message for message in log if isinstance(message, Stopped)][0].received_ms == 2000
        assert connections >= 3
    await eventually(lambda: asr.lifecycle.sessions == 0)
    assert asr.metric("voice_asr_parked_sessions") == 0


async def test_opus_packets_survive(asr: LiveService) -> None:
    sound = joined(silence(200), tone(600, 1200), silence(600), tone(400, 900), silence(600))
    start = START.model_copy(update={"encoding": Encoding.OPUS})
    packets = opus_packets(sound)
    undisturbed, _ = await recognise(asr.ws, packets, start)
    async with unreliable(asr.address, [Cut(up=1500), Cut(up=2000), Cut(down=450)]) as proxy:
        log, connections = await recognise(proxy.ws, packets, start, pause_s=0.002)
    assert connections >= 3
    assert told(log) == told(undisturbed)


async def test_a_session_that_was_never_known_begins_anew(asr: LiveService) -> None:
    async with unreliable(asr.address, [Cut(up=1), Cut(up=1), Cut(up=1)]) as proxy:
        log, connections = await recognise(proxy.ws, [TURNS])
    assert connections >= 3
    assert told(log) == told((await recognise(asr.ws, [TURNS]))[0])


async def test_a_service_that_says_nothing_more_is_left(asr: LiveService) -> None:
    options = Reconnect(dead_s=0.4, first_pause_s=0.01)
    async with unreliable(asr.address) as proxy, stream_to(proxy.ws, options=options) as stream:
        await stream.send_audio(TURNS[:20_000])
        await asyncio.sleep(0.1)
        proxy.freeze()
        hearing = asyncio.create_task(converse(stream, [TURNS[20_000:]]))
        await asyncio.sleep(0.6)
        proxy.thaw()
        log = await hearing
    assert stream.connections >= 2
    finals = [message.text for message in log if isinstance(message, Final)]
    assert " ".join(finals).split().count("w9") >= 2
    assert numbers(log) == list(range(1, len(log) + 1))


async def test_a_service_that_is_slow_to_resume_is_not_told_that_the_client_leaves(
    asr: LiveService, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed, _ = await recognise(asr.ws, [TURNS])
    async with unreliable(asr.address) as proxy, stream_to(proxy.ws) as stream:
        monkeypatch.setattr("services.client.connection.CONNECT_S", 0.4)
        await stream.send_audio(TURNS[:20_000])
        _, first = await anext(stream.events())
        proxy.cut()
        proxy.freeze()
        hearing = asyncio.create_task(converse(stream, [TURNS[20_000:]]))
        await eventually(lambda: proxy.connections == 2)
        await asyncio.sleep(0.6)  # it has not waited longer, and is saying so
        proxy.thaw()
        log = await hearing
    assert told([first, *log]) == told(undisturbed)


async def test_it_gives_up(asr: LiveService) -> None:
    options = Reconnect(give_up_s=0.3, first_pause_s=0.05)
    async with unreliable(asr.address) as proxy, stream_to(proxy.ws, options=options) as stream:
        await stream.send_audio(TURNS)
        proxy.refuse()
        with pytest.raises(ServiceError, match=r"lost.*within 0\.3 s") as caught:
            async for _ in stream.events():
                pass
        assert caught.value.code == "connection_lost"
        with pytest.raises(ServiceError, match="lost"):
            await stream.send_audio(b"more")


async def test_who_comes_back_too_late_is_told(asr: LiveService) -> None:
    options = Reconnect(give_up_s=8.0, first_pause_s=0.05, longest_pause_s=0.1)
    async with unreliable(asr.address) as proxy, stream_to(proxy.ws, options=options) as stream:
        await stream.send_audio(TURNS)
        await anext(stream.events())
        proxy.refuse()
        await eventually(lambda: asr.metric("voice_asr_parked_sessions") == 1)
        await eventually(lambda: asr.metric("voice_asr_parked_sessions") == 0)
        proxy.accept()
        with pytest.raises(ServiceError, match="no such session") as caught:
            async for _ in stream.events():
                pass
    assert caught.value.code == "session_not_found"


async def test_sending_waits_while_too_much_is_kept(asr: LiveService) -> None:
    options = Reconnect(give_up_s=5.0, buffer_bytes=40_000, first_pause_s=0.01)
    async with unreliable(asr.address) as proxy, stream_to(proxy.ws, options=options) as stream:
        proxy.refuse()
        await stream.send_audio(bytes(30_000))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await stream.send_audio(bytes(30_000))
        proxy.accept()
        log = await converse(stream, [bytes(30_000)])
    [stopped] = [message for message in log if isinstance(message, Stopped)]
    assert stopped.received_ms == 2 * 30_000 // 32


async def test_a_fatal_error_is_no_lost_connection(asr: LiveService) -> None:
    start = START.model_copy(update={"language": "xx"})
    log = []
    async with stream_to(asr.ws, start) as stream:
        with pytest.raises(ServiceError) as caught:
            async for _, message in stream.events():
                log.append(message)
    assert caught.value.code == "unsupported_language"
    assert [message.type for message in log] == ["error"]
    assert stream.connections == 1


async def test_a_wrong_key_is_refused_at_once() -> None:
    server = ServerConfig.model_validate({"api_keys": ["red"], "drain_s": 0.5})
    config = tones(server=server)
    app = await asyncio.to_thread(create_app, config)
    with serving(app, LimitsConfig(), server) as service:
        with pytest.raises(ServiceError) as caught:
            async with stream_to(service.ws, key="blue"):
                pass
        assert caught.value.code == "unauthorized"
        async with (
            unreliable(service.address, [Cut(up=9000)]) as proxy,
            stream_to(proxy.ws, key="red") as stream,
        ):
            log = await converse(stream, chunks_of(TURNS, [3200]))
        assert isinstance(log[-1], Stopped)


async def test_who_leaves_leaves_nothing_behind(asr: LiveService) -> None:
    async with stream_to(asr.ws) as stream:
        await stream.send_audio(TURNS)
        await asyncio.sleep(0.1)
    await eventually(lambda: asr.lifecycle.sessions == 0)


@pytest.mark.models
@pytest.mark.slow
async def test_real_speech_survives(model_store: ModelStore) -> None:
    """The recording of a speech through the embedded models, cut six times."""
    config = AsrConfig(admission=AdmissionConfig(enabled=False))
    said = await asyncio.to_thread(recording, "jfk.flac")
    sound = joined(said, silence(700))
    # Without partials: what was promised depends on when the audio came.
    start = Start(partials=False, turn=TurnOptions(mode=TurnMode.SILENCE, silence_ms=600))
    app = await asyncio.to_thread(create_app, config, model_store)
    with serving(app, config.limits) as service:
        chunks = chunks_of(pcm(sound), [1281, 640, 3201])
        undisturbed, _ = await recognise(service.ws, chunks, start, pause_s=0.01)
        cuts = [Cut(up=up) for up in (2_000, 50_000, 77_777, 100_001, 30_003, 40_000)]
        async with unreliable(service.address, cuts) as proxy:
            log, connections = await recognise(proxy.ws, chunks, start, pause_s=0.01)
    assert connections == 7
    texts = [message.text for message in told(log) if isinstance(message, Final)]
    assert texts == [message.text for message in told(undisturbed) if isinstance(message, Final)]
    assert "what your country can do for you" in " ".join(texts).lower()
    assert numbers(log) == list(range(1, len(log) + 1))
