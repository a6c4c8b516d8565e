"""Audio that nobody reads is dropped, the oldest first; nothing else is."""

import asyncio

from examples.voice_agent.inbox import Inbox
from examples.voice_agent.transport import AudioIn, Digit, HungUp, TransportEvent


async def everything(inbox: Inbox, count: int) -> list[TransportEvent]:
    async with asyncio.timeout(1):
        return [await inbox.get() for _ in range(count)]


async def test_events_come_in_order() -> None:
    inbox = Inbox(100)
    events: list[TransportEvent] = [AudioIn(b"a", 0.0), Digit("1"), AudioIn(b"b", 0.1)]
    for event in events:
        inbox.put(event)
    assert await everything(inbox, 3) == events


async def test_the_oldest_audio_is_dropped_and_counted() -> None:
    inbox = Inbox(20)
    inbox.put(Digit("7"))
    for number in range(100):
        inbox.put(AudioIn(bytes([number]) * 10, float(number)))
    inbox.put(HungUp("gone", True))
    kept = await everything(inbox, 4)
    assert [type(event) for event in kept] == [Digit, AudioIn, AudioIn, HungUp]
    assert [event.at_s for event in kept if isinstance(event, AudioIn)] == [98.0, 99.0]
    assert inbox.dropped_bytes == 980


async def test_a_reader_waits_for_what_comes() -> None:
    inbox = Inbox(20)
    reading = asyncio.create_task(everything(inbox, 1))
    await asyncio.sleep(0)
    inbox.put(Digit("1"))
    assert await reading == [Digit("1")]
