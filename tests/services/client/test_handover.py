"""The ASR client when its instance shuts down: it goes on at another one, and nothing is lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import pytest
from websockets.asyncio.server import ServerConnection, serve

from services.asr.app import create_app
from services.asr.messages import (
    Ack,
    Encoding,
    Final,
    Flush,
    Handover,
    Ready,
    ServerMessage,
    Start,
    Stop,
    Stopped,
    TurnMode,
    TurnOptions,
)
from services.client.connection import ServiceError
from services.shared.models.store import ModelStore
from services.shared.protocol.codec import encode
from services.shared.runtime.config import ServerConfig
from tests.services.asr.conftest import tones
from tests.services.asr.sounds import joined, opus_packets, pcm, silence, tone
from tests.services.client.test_reconnect import START, chunks_of, converse, stream_to, told
from tests.services.serving import LiveService, eventually, serving
from tests.services.unreliable import UnreliableProxy, unreliable

pytestmark = pytest.mark.timeout(60)

STORE = ModelStore()
DRAIN_S = 0.3


class TwoInstances:
    """Behind a proxy that leads to the second one when the first one has been told to stop."""

    def __init__(self, proxy: UnreliableProxy, first: LiveService, second: LiveService) -> None:
        self.ws = proxy.ws
        self.first = first
        self._proxy = proxy
        self._second = second

    def terminate_the_first(self) -> None:
        self._proxy.forward_to(self._second.address)
        self.first.terminate()


@asynccontextmanager
async def two_instances() -> AsyncIterator[TwoInstances]:
    server = ServerConfig(drain_s=DRAIN_S)
    config = tones(50, server=server)
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(serving(create_app(config, STORE), config.limits, server))
            for _ in range(2)
        )
        async with unreliable(first.address) as proxy:
            yield TwoInstances(proxy, first, second)


def finals(log: list[ServerMessage]) -> list[Final]:
    return [message for message in log if isinstance(message, Final)]


@pytest.mark.slow
async def test_a_handover_between_turns_cannot_be_told_from_none() -> None:
    turns = [joined(tone(hertz, 500), silence(700)) for hertz in (400, 900, 1300)]
    sound = chunks_of(pcm(joined(silence(100), *turns)), [640])
    async with two_instances() as instances:
        async with stream_to(instances.ws) as stream:
            undisturbed = await converse(stream, sound, 0.001)
        async with stream_to(instances.ws) as stream:
            hearing = asyncio.create_task(converse(stream, sound, 0.02))
            await asyncio.sleep(1.0)
            instances.terminate_the_first()
            log = await hearing
            assert stream.connections == 2
    assert not any(isinstance(message, Handover) for message in log)
    assert [set(final.text.split()) for final in finals(log)] == [
        set(final.text.split()) for final in finals(undisturbed)
    ]
    for final, undisturbed_final in zip(finals(log), finals(undisturbed), strict=True):
        assert abs(final.start_ms - undisturbed_final.start_ms) <= 32
        assert abs(final.end_ms - undisturbed_final.end_ms) <= 32
    stopped = log[-1]
    assert isinstance(stopped, Stopped)
    assert (stopped.received_ms, stopped.dropped_ms) == (3700, 0)


async def test_a_speaker_who_does_not_stop_loses_no_word() -> None:
    hertz = [400 + 100 * index for index in range(8)]
    sound = pcm(joined(*(tone(each, 400) for each in hertz), silence(700)))
    patient = TurnOptions(mode=TurnMode.SILENCE, silence_ms=4000)  # a busy machine makes pauses
    start = START.model_copy(update={"turn": patient})
    async with two_instances() as instances:
        async with stream_to(instances.ws, start) as stream:
            hearing = asyncio.create_task(converse(stream, chunks_of(sound, [640]), 0.02))
            await asyncio.sleep(0.8)
            instances.terminate_the_first()
            log = await hearing
        await eventually(lambda: not instances.first.running, 10)
    texts = " ".join(final.text for final in finals(log)).split()
    order = [int(word[1:]) for word in texts]
    # Cut in the middle of a sound, words may come twice or be of two sounds, but none is missing.
    assert set(order) >= {each // 100 for each in hertz}
    assert sum(final.turn_end for final in finals(log)) == 2, "the last one answers the flush"
    stopped = log[-1]
    assert isinstance(stopped, Stopped)
    assert (stopped.received_ms, stopped.dropped_ms) == (len(sound) // 32, 0)


@pytest.mark.slow
async def test_opus_packets_go_on_elsewhere() -> None:
    sound = joined(silence(200), tone(600, 900), silence(1500), tone(400, 900), silence(600))
    start = START.model_copy(update={"encoding": Encoding.OPUS})
    packets = opus_packets(sound)
    async with two_instances() as instances, stream_to(instances.ws, start) as stream:
        hearing = asyncio.create_task(converse(stream, packets, 0.02))
        await asyncio.sleep(1.5)
        instances.terminate_the_first()
        log = await hearing
        assert stream.connections == 2
    first, second, *_ = finals(log)
    assert "w6" in first.text.split()
    assert "w4" in second.text.split()
    assert len([final for final in told(log) if isinstance(final, Final) and final.text]) == 2


async def test_samples_that_are_cut_in_two_cannot_go_on_elsewhere() -> None:
    sound = pcm(joined(tone(400, 500), silence(3000)))
    async with two_instances() as instances, stream_to(instances.ws, Start()) as stream:
        hearing = asyncio.create_task(converse(stream, chunks_of(sound, [641]), 0.02))
        await asyncio.sleep(0.3)
        instances.terminate_the_first()
        with pytest.raises(ServiceError) as caught:
            await hearing
    assert (caught.value.code, caught.value.retryable) == ("shutting_down", True)


async def test_an_acknowledgement_behind_the_handover_is_of_no_account() -> None:
    """Services before this one could still tell a count that the handover had told already."""
    heard: list[list[str | bytes]] = []

    async def serve_one(socket: ServerConnection) -> None:
        heard.append([])
        await socket.send(encode(Ready(session_id="s", protocol=1, model="m", languages=("en",))))
        first = len(heard) == 1
        async for message in socket:
            heard[-1].append(message)
            if first and len(heard[0]) == 3:
                done = Handover(event=1, received=2, received_ms=20, speech_ms=0, dropped_ms=0)
                await socket.send(encode(done))
                await socket.send(encode(Ack(received=2)))
                await socket.close(1012)
                return
            if message == encode(Stop()):
                stopped = Stopped(event=1, received_ms=40, speech_ms=0, dropped_ms=0)
                await socket.send(encode(stopped))
                return

    async with serve(serve_one, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        async with stream_to(url, Start()) as stream:
            log = await converse(stream, [b"a" * 640, b"b" * 640])
    [stopped] = [message for message in log if isinstance(message, Stopped)]
    assert stopped.received_ms == 60
    (start, *rest), again = heard
    assert rest[0] == b"a" * 640
    assert again == [start, b"b" * 640, encode(Flush()), encode(Stop())]
