"""What one instance knows of the voices, also when the store is slow, lost, or used by others."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from services.shared.protocol.base import ErrorCode
from services.tts.cloning.records import ClonedVoice
from services.tts.cloning.reference import REFERENCE_RATE
from services.tts.cloning.shelf import VoiceShelf
from services.tts.cloning.store import VoiceGone, VoiceStore
from services.tts.config import VoicesConfig
from services.tts.engines.base import EngineError, Floats
from services.tts.engines.fake import FakeEngine
from services.tts.metrics import TtsMetrics
from services.tts.speakers import Speaker, Tensors
from tests.services.serving import eventually
from tests.services.tts.cloning.recordings import buzz, flac, record


class CountingEngine(FakeEngine):
    """Says how often it was asked to compute a voice."""

    conditioned = 0

    def condition(self, reference: Floats, sample_rate: int) -> Tensors:
        self.conditioned += 1
        return super().condition(reference, sample_rate)


class Instance:
    """One service's shelf with its engine."""

    def __init__(self, folder: Path, engine: FakeEngine, **config: float) -> None:
        self.engine = engine
        self.gone: list[str] = []
        self.speaker = Speaker(engine, TtsMetrics(CollectorRegistry()), 10.0)
        wanted = VoicesConfig.model_validate({"store": str(folder), "refresh_s": 60, **config})
        self.shelf = VoiceShelf(wanted, {"fake": self.speaker}, self.gone.append)


@asynccontextmanager
async def instance(
    folder: Path, *, weights: str = "1", delay_s: float = 0.0, **config: float
) -> AsyncIterator[Instance]:
    engine = CountingEngine(cloning=True, weights=weights, delay_s=delay_s)
    one = Instance(folder, engine, **config)
    one.speaker.start()
    await one.shelf.open()
    try:
        yield one
    finally:
        await one.shelf.close()
        assert await one.speaker.scheduler.close()


async def add(one: Instance, hertz: float = 120.0, owner: str = "ada") -> ClonedVoice:
    voice = record(owner=owner)
    tensors = {"hertz": np.array([hertz], dtype=np.float32)}
    await one.shelf.add(voice, flac(buzz(hertz, 4)), tensors)
    return voice


def computed(one: Instance) -> int:
    assert isinstance(one.engine, CountingEngine)
    return one.engine.conditioned


async def test_other_weights_compute_a_voice_once_for_all_who_wait(tmp_path: Path) -> None:
    async with instance(tmp_path) as one:
        voice = await add(one, 150.0)
    async with instance(tmp_path, weights="2", delay_s=0.05) as two:
        made = await asyncio.gather(*(two.shelf.conditioning(voice.id) for _ in range(20)))
        assert computed(two) == 1
        assert {id(each) for each in made} == {id(made[0])}
        assert made[0].version == "fake-2"
        assert made[0].tensors["hertz"][0] == pytest.approx(150, rel=0.03)
    async with instance(tmp_path, weights="2") as three:
        await three.shelf.conditioning(voice.id)
        assert computed(three) == 0  # it lay in the store


async def test_who_waits_too_long_is_told_and_the_next_one_has_it(tmp_path: Path) -> None:
    async with instance(tmp_path) as one:
        voice = await add(one)
    async with instance(tmp_path, weights="2", delay_s=0.4, load_s=0.05) as two:
        with pytest.raises(EngineError, match=r"not loaded within 0\.05 s") as late:
            await two.shelf.conditioning(voice.id)
        assert late.value.retryable
        async with asyncio.timeout(10):
            while True:
                with contextlib.suppress(EngineError):
                    await two.shelf.conditioning(voice.id)
                    break
        assert computed(two) == 1


async def test_memory_is_bounded_and_voices_come_back(tmp_path: Path) -> None:
    async with instance(tmp_path, memory_mb=1) as one:
        kept = one.shelf.conditionings
        voices = [record(owner="ada") for _ in range(5)]
        for number, voice in enumerate(voices):
            tensors = {"large": np.full(100_000, number, dtype=np.float32)}
            await one.shelf.add(voice, flac(buzz(120, 4)), tensors)
        assert len(kept) == 2
        assert kept.bytes == 800_000
        for number, voice in enumerate(voices):
            loaded = await one.shelf.conditioning(voice.id)
            assert loaded.tensors["large"][0] == number
        assert kept.bytes == 800_000
        assert computed(one) == 0


async def test_what_another_instance_does_is_seen(tmp_path: Path) -> None:
    async with instance(tmp_path) as one, instance(tmp_path, refresh_s=0.1) as two:
        voice = await add(one)
        await eventually(lambda: voice.id in two.shelf.of_owner("ada"))
        assert two.shelf.of_owner("bob") == {}
        await one.shelf.delete(voice.id, "ada")
        assert one.gone == [voice.id]
        await eventually(lambda: bool(two.gone))
        assert two.gone == [voice.id]
        with pytest.raises(EngineError) as gone:
            await two.shelf.conditioning(voice.id)
        assert gone.value.code is ErrorCode.UNKNOWN_VOICE


async def test_only_the_owner_finds_a_voice(tmp_path: Path) -> None:
    async with instance(tmp_path) as one:
        voice = await add(one, owner="ada")
        assert await one.shelf.find(voice.id, "ada") == voice
        for voice_id, owner in ((voice.id, "bob"), ("../x", "ada"), (record().id, "ada")):
            with pytest.raises(VoiceGone):
                await one.shelf.find(voice_id, owner)
            with pytest.raises(VoiceGone):
                await one.shelf.delete(voice_id, owner)
        assert list(one.shelf.of_owner("ada")) == [voice.id]


async def test_a_store_that_is_lost_is_an_error_that_may_pass(tmp_path: Path) -> None:
    folder = tmp_path / "voices"
    async with instance(folder) as one:
        voice = await add(one)
        record_file = folder / "voices" / voice.id / "voice.json"
        data = await asyncio.to_thread(record_file.read_bytes)
        await asyncio.to_thread(record_file.write_bytes, b"{ damaged")
        one.shelf._seen[voice.id] = -1e9  # as if it had not been used for long
        with pytest.raises(EngineError, match="cannot be reached") as lost:
            await one.shelf.conditioning(voice.id)
        assert lost.value.retryable
        await asyncio.to_thread(record_file.write_bytes, data)
        assert (await one.shelf.conditioning(voice.id)).version == "fake-1"
        assert one.gone == []


async def test_a_damaged_record_does_not_hide_the_others(tmp_path: Path) -> None:
    async with instance(tmp_path) as one:
        broken, whole = await add(one), await add(one)
    file = tmp_path / "voices" / broken.id / "voice.json"
    await asyncio.to_thread(file.write_bytes, b"{}")
    async with instance(tmp_path) as two:
        assert list(two.shelf.of_owner("ada")) == [whole.id]


async def test_a_store_that_cannot_be_used_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    one = Instance(tmp_path / "file" / "voices", FakeEngine(cloning=True))
    with pytest.raises(EngineError, match="cannot be reached"):
        await one.shelf.open()
    await one.shelf.close()


async def test_an_engine_that_is_not_here_has_no_voices(tmp_path: Path) -> None:
    async with instance(tmp_path) as one:
        voice = record(owner="ada", engine="chatterbox")
        store: VoiceStore = one.shelf.store
        await asyncio.to_thread(store.create, voice, b"", "1", {})
        await one.shelf.refresh()
        assert one.shelf.of_owner("ada") == {}
        assert one.shelf.voice(voice.id) is None


async def test_the_kept_reference_is_speech(tmp_path: Path) -> None:
    """What the engine computes anew from the FLAC is what the recording says."""
    reference = buzz(210, 4)
    engine = FakeEngine(cloning=True)
    assert engine.condition(reference, REFERENCE_RATE)["hertz"][0] == pytest.approx(210, rel=0.02)
    async with instance(tmp_path) as one:
        voice = await add(one, 210.0)
    async with instance(tmp_path, weights="9") as two:
        made = await two.shelf.conditioning(voice.id)
        assert made.tensors["hertz"][0] == pytest.approx(210, rel=0.02)
