"""Many callers at once, each in a conversation: they say something, they hear something."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from services.bench.cluster.ears import Ears
from services.bench.cluster.fingerprints import FakeVoice
from services.bench.cluster.manner import Manner
from services.bench.cluster.records import Diary
from services.bench.cluster.speech import Microphone, Utterance, repertoire, reply_to
from services.bench.cluster.voice import Voice
from services.bench.corpus import Recording

_SPREAD_S = 6.0
"""Many callers begin at any moment of about one exchange, and not in step; fewer sooner."""
_MANY = 40
_GOODBYE_S = 15.0


class Crowd:
    """The callers of a run; :func:`crowd` makes it talk."""

    def __init__(self, manner: Manner, repertoires: Sequence[list[Utterance]], seed: int) -> None:
        self.diaries = [Diary(number) for number in range(len(repertoires))]
        self._manner = manner
        self._repertoires = repertoires
        self._seed = seed
        self._lines: dict[int, Microphone] = {}
        self._fake = FakeVoice()
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Everybody finishes what is being said and hangs up."""
        self._ending.set()

    async def call(self, diary: Diary) -> None:
        """One caller, who hangs up and calls again after `call_s`, until the end."""
        rng = random.Random(f"{self._seed}/{diary.number}")
        await self._pause(rng.uniform(0, spread_s(len(self.diaries))))
        while not self._ending.is_set():
            lasts_s = self._manner.call_s * rng.uniform(0.5, 1.5)
            await self._one_call(diary, rng, time.monotonic() + lasts_s)

    async def _one_call(self, diary: Diary, rng: random.Random, until_s: float) -> None:
        """From the first word to the end of both sessions."""
        ears = Ears(self._manner, diary, lambda: self._other(diary.number))
        self._lines[diary.number] = ears.line
        voice = Voice(self._manner, diary, self._fake)
        sessions = [asyncio.create_task(ears.run()), asyncio.create_task(voice.run())]
        try:
            while not self._ending.is_set() and time.monotonic() < until_s:
                await self._exchange(ears, voice, diary, rng)
            ears.leave()
            await voice.leave()
            _, unfinished = await asyncio.wait(sessions, timeout=_GOODBYE_S)
            if unfinished:
                diary.errors.append("a session did not end in time")
        finally:
            for session in sessions:
                session.cancel()
            for result in await asyncio.gather(*sessions, return_exceptions=True):
                if isinstance(result, Exception):
                    diary.errors.append(repr(result))

    async def _exchange(self, ears: Ears, voice: Voice, diary: Diary, rng: random.Random) -> None:
        utterance = rng.choice(self._repertoires[diary.number])
        await ears.say(utterance, flush=rng.random() < 0.5)
        await voice.hear(*reply_to(diary.number, len(diary.replies)))
        await self._pause(rng.uniform(*self._manner.pause_s))

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ending.wait()

    def _other(self, number: int) -> Microphone:
        return self._lines.get((number + 1) % len(self.diaries), self._lines[number])


def spread_s(callers: int) -> float:
    """Seconds within which all of them have begun."""
    return _SPREAD_S * min(1.0, callers / _MANY)


def repertoires_of(
    recordings: Sequence[Recording], callers: int, seed: int
) -> list[list[Utterance]]:
    """What each of them has to say; takes a few milliseconds a caller."""
    return [repertoire(recordings, number, seed) for number in range(callers)]


@asynccontextmanager
async def crowd(
    manner: Manner, repertoires: Sequence[list[Utterance]], seed: int
) -> AsyncIterator[Crowd]:
    """Callers who talk while the block runs, and hang up in good order at its end."""
    people = Crowd(manner, repertoires, seed)
    calls = [asyncio.create_task(people.call(diary)) for diary in people.diaries]
    try:
        yield people
        people.end()
        await asyncio.gather(*calls)
    finally:
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
