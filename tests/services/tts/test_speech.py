"""Segments fresh, shared and from the cache, with the fake engine."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from services.shared.audio.pcm import Floats
from services.tts.cache import PhraseCache
from services.tts.engines.base import EngineError, SynthesisRequest
from services.tts.engines.fake import SAMPLE_RATE, FakeEngine
from services.tts.messages import CacheUse
from services.tts.metrics import TtsMetrics
from services.tts.speakers import Speaker
from services.tts.speech import Speech, SpeechDesk
from tests.services.serving import eventually
from tests.services.tts.client import open_streams

TEXT = "Good morning and welcome"


class Studio:
    """A desk with its engine."""

    def __init__(self, delay_s: float = 0.0, *, cached: bool = True) -> None:
        self.metrics = TtsMetrics(CollectorRegistry())
        self.engine = FakeEngine(delay_s=delay_s)
        self.speaker = Speaker(self.engine, self.metrics, timeout_s=5.0)
        self.cache = PhraseCache(1 << 22, None, 0, self.metrics) if cached else None
        self.desk = SpeechDesk(self.cache, self.metrics)

    async def open(self, text: str = TEXT, use: CacheUse = CacheUse.DEFAULT) -> Speech:
        voice = self.engine.voices()[0]
        return await self.desk.open(self.speaker, voice, SynthesisRequest(text, voice.id), use)

    async def hear(self, text: str = TEXT, use: CacheUse = CacheUse.DEFAULT) -> Floats:
        speech = await self.open(text, use)
        try:
            return await rest_of(speech)
        finally:
            speech.close()

    @property
    def synthesised(self) -> int:
        """Characters that engines were given."""
        value = self.metrics.registry.get_sample_value("voice_tts_characters_total")
        return int(value or 0)

    def hits(self, tier: str) -> float:
        name = "voice_tts_cache_hits_total"
        return self.metrics.registry.get_sample_value(name, {"tier": tier}) or 0.0


async def rest_of(speech: Speech) -> Floats:
    parts = [np.zeros(0, dtype=np.float32)]
    while piece := await speech.next_piece(time.monotonic()):
        parts.append(piece.samples)
    return np.concatenate(parts)


@asynccontextmanager
async def studio(delay_s: float = 0.0, *, cached: bool = True) -> AsyncIterator[Studio]:
    made = Studio(delay_s, cached=cached)
    made.speaker.start()
    yield made
    await eventually(lambda: open_streams() == 0)
    assert await made.speaker.scheduler.close()
    if made.cache is not None:
        await made.cache.close()


async def test_a_phrase_is_synthesised_once_and_then_answered_at_once() -> None:
    async with studio(delay_s=0.02) as made:
        first = await made.hear()
        waits = []
        for _ in range(5):  # a busy machine is late now and then
            begun = time.monotonic()
            again = await made.open()
            piece = await again.next_piece(0.0)
            waits.append(time.monotonic() - begun)
            assert again.source == "cache"
        assert min(waits) < 0.01
        assert piece is not None
        assert piece.words[0].word == "Good"
        heard = np.concatenate([piece.samples, await rest_of(again)])
        np.testing.assert_allclose(heard, first, atol=1 / 32_768)
        assert made.synthesised == len(TEXT)
        assert made.hits("memory") == len(waits)


async def test_another_text_is_another_phrase() -> None:
    async with studio() as made:
        await made.hear()
        await made.hear(TEXT + "!")
        assert made.synthesised == 2 * len(TEXT) + 1


async def test_bypass_neither_takes_nor_keeps() -> None:
    async with studio() as made:
        await made.hear(use=CacheUse.BYPASS)
        await made.hear()
        await made.hear(use=CacheUse.BYPASS)
        assert made.synthesised == 3 * len(TEXT)
        assert made.hits("memory") == 0


async def test_refresh_speaks_anew_and_keeps_that() -> None:
    async with studio() as made:
        await made.hear()
        await made.hear(use=CacheUse.REFRESH)
        assert made.synthesised == 2 * len(TEXT)
        await made.hear()
        assert made.synthesised == 2 * len(TEXT)


async def test_without_a_cache_everybody_gets_their_own() -> None:
    async with studio(cached=False) as made:
        await made.hear()
        await made.hear()
        assert made.synthesised == 2 * len(TEXT)


async def test_equal_requests_at_the_same_time_share_one_synthesis() -> None:
    async with studio(delay_s=0.02) as made:
        heard = await asyncio.gather(*(made.hear() for _ in range(5)))
        for each in heard:
            np.testing.assert_array_equal(each, heard[0])
        assert made.synthesised == len(TEXT)
        assert made.hits("flight") == 4


async def test_one_listeners_cancel_does_not_hurt_another() -> None:
    async with studio(delay_s=0.02) as made:
        leaver, stayer = await made.open(), await made.open()
        await leaver.next_piece(0.0)
        waiting = asyncio.create_task(leaver.next_piece(0.0))
        await asyncio.sleep(0)
        listening = asyncio.create_task(rest_of(stayer))
        await asyncio.sleep(0)
        waiting.cancel()
        leaver.close()
        leaver.close()
        heard = await listening
        assert len(heard) == SAMPLE_RATE * sum(40 * len(word) + 20 for word in TEXT.split()) // 1000
        assert await made.hear() is not None
        assert made.synthesised == len(TEXT), "and what the stayer heard was kept"


async def test_the_last_one_to_leave_frees_the_engine_and_nothing_is_kept() -> None:
    async with studio(delay_s=0.05) as made:
        one, two = await made.open(), await made.open()
        await one.next_piece(0.0)
        waiting = asyncio.create_task(two.next_piece(0.0))
        await waiting
        waiting = asyncio.create_task(two.next_piece(0.0))
        await asyncio.sleep(0.01)
        one.close()
        assert open_streams() == 1
        waiting.cancel()
        two.close()
        await eventually(lambda: open_streams() == 0)
        assert made.speaker.load.idle
        await made.hear()
        assert made.synthesised == 2 * len(TEXT)


async def test_a_failure_reaches_every_listener_and_the_next_may_try_again() -> None:
    async with studio(delay_s=0.01) as made:
        text = "one FAIL two"
        results = await asyncio.gather(*(made.hear(text) for _ in range(3)), return_exceptions=True)
        assert all(isinstance(each, EngineError) for each in results)
        assert made.synthesised == len(text)
        with pytest.raises(EngineError):
            await made.hear(text)
        assert made.synthesised == 2 * len(text)
        assert made.speaker.load.idle


async def test_a_refresh_takes_the_place_of_what_is_under_way() -> None:
    async with studio(delay_s=0.02) as made:
        old = await made.open()
        await old.next_piece(0.0)
        anew = await made.open(use=CacheUse.REFRESH)
        joined = await made.open()
        await asyncio.gather(rest_of(old), rest_of(anew), rest_of(joined))
        assert made.synthesised == 2 * len(TEXT)
        for speech in (old, anew, joined):
            speech.close()


async def test_an_impatient_listener_is_not_held_back_by_a_patient_one() -> None:
    async with studio(delay_s=0.03) as made:
        far = time.monotonic() + 100
        patient, impatient = await made.open("one two three"), await made.open("one two three")
        others = [
            await made.open(f"other{number} words here", CacheUse.BYPASS) for number in range(6)
        ]
        order = list[str]()

        async def take(name: str, speech: Speech, deadline: float) -> None:
            await speech.next_piece(deadline)
            order.append(name)

        async with asyncio.TaskGroup() as group:
            group.create_task(take("running", others[0], 0.0))
            await asyncio.sleep(0.01)
            group.create_task(take("patient", patient, far))
            for number, other in enumerate(others[1:]):
                group.create_task(take(f"other{number}", other, far - 50))
            await asyncio.sleep(0)
            group.create_task(take("impatient", impatient, 1.0))
        assert order.index("impatient") < order.index("other0")
        for speech in (patient, impatient, *others):
            speech.close()


@settings(max_examples=25)
@given(st.lists(st.sampled_from(["open", "step", "close", "refresh"]), max_size=25))
def test_whoever_comes_and_goes_the_rest_hear_everything(
    actions: list[str],
) -> None:
    async def play() -> None:
        async with studio() as made:
            whole = await made.hear(use=CacheUse.BYPASS)
            listeners: list[tuple[Speech, list[Floats]]] = []
            for number, action in enumerate(actions):
                if action in ("open", "refresh"):
                    use = CacheUse.REFRESH if action == "refresh" else CacheUse.DEFAULT
                    listeners.append((await made.open(use=use), []))
                elif listeners and action == "step":
                    speech, heard = listeners[number % len(listeners)]
                    if piece := await speech.next_piece(0.0):
                        heard.append(piece.samples)
                elif listeners:
                    listeners.pop(number % len(listeners))[0].close()
            for speech, heard in listeners:
                heard.append(await rest_of(speech))
                speech.close()
                np.testing.assert_allclose(np.concatenate(heard), whole, atol=1 / 32_768)
            assert made.speaker.load.idle

    asyncio.run(play())
