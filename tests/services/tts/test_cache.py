"""The phrase cache: bounded, least recently used first, surviving restarts, never damaged."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from services.tts.cache import PhraseCache, PhraseFiles, PhraseMemory
from services.tts.engines.base import WordTime
from services.tts.metrics import TtsMetrics
from services.tts.phrase import Phrase
from tests.services.serving import eventually

MEMORY = 1 << 20
DISK = 1 << 20


def phrase(number: int = 1, samples: int = 1000) -> Phrase:
    words = (WordTime("word", 0, number),)
    return Phrase(np.full(samples, number, dtype=np.int16), 16_000, words)


def key(number: int) -> str:
    return f"{number:064x}"


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


@asynccontextmanager
async def opened(
    folder: Path | None, memory: int = MEMORY, disk: int = DISK
) -> AsyncIterator[PhraseCache]:
    cache = PhraseCache(memory, folder, disk, TtsMetrics(CollectorRegistry()))
    await cache.open()
    yield cache
    await cache.close()


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 30_000), st.booleans()), max_size=60))
def test_memory_stays_within_its_bound(actions: list[tuple[int, int, bool]]) -> None:
    memory = PhraseMemory(100_000)
    held: dict[str, Phrase] = {}
    for number, samples, put in actions:
        if put:
            made = phrase(number, samples)
            memory.put(key(number), made)
            if made.size * 8 <= 100_000:
                held[key(number)] = made
        elif (found := memory.get(key(number))) is not None:
            assert found is held[key(number)]
        assert memory.bytes <= 100_000
        assert memory.bytes == sum(each.size for each in memory._phrases.values())


def test_what_was_not_used_for_longest_goes_first() -> None:
    memory = PhraseMemory(phrase().size * 10)
    for number in range(10):
        memory.put(key(number), phrase())
    memory.get(key(0))
    memory.put(key(10), phrase())
    assert memory.get(key(0)) is not None
    assert memory.get(key(1)) is None
    assert len(memory) == 10


def test_files_survive_a_restart_and_forget_the_oldest(tmp_path: Path) -> None:
    size = len(phrase().to_bytes())
    files = PhraseFiles(tmp_path, 3 * size)
    files.scan()
    for number in range(3):
        files.put(key(number), phrase(number))
    assert files.get(key(0)) is not None
    again = PhraseFiles(tmp_path, 3 * size)
    again.scan()
    assert len(again) == 3
    assert again.bytes == files.bytes == 3 * size
    again.put(key(3), phrase(3))
    assert key(1) not in again
    assert key(0) in again, "it was used after the others"
    assert len(list(tmp_path.iterdir())) == 3
    smaller = PhraseFiles(tmp_path, size)
    smaller.scan()
    assert len(smaller) == len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_damaged_file_is_dropped(tmp_path: Path, damage: bytes | None) -> None:
    files = PhraseFiles(tmp_path, DISK)
    files.scan()
    files.put(key(1), phrase())
    [path] = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1] + b"\xff" if damage is None else damage)
    assert files.get(key(1)) is None
    assert list(tmp_path.iterdir()) == []
    assert key(1) not in files
    assert files.bytes == 0
    files.put(key(1), phrase())
    assert files.get(key(1)) is not None


def test_a_file_that_was_deleted_meanwhile_is_a_miss(tmp_path: Path) -> None:
    files = PhraseFiles(tmp_path, DISK)
    files.scan()
    files.put(key(1), phrase())
    next(tmp_path.iterdir()).unlink()
    assert files.get(key(1)) is None


def test_what_a_crash_left_half_written_is_swept_up(tmp_path: Path) -> None:
    (tmp_path / f"{key(1)}.part").write_bytes(b"half")
    files = PhraseFiles(tmp_path, DISK)
    files.scan()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_no_failure(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    files = PhraseFiles(folder, DISK)
    files.scan()
    folder.rmdir()
    files.put(key(1), phrase())
    assert key(1) not in files


async def test_memory_answers_before_files_and_files_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as cache:
        cache.keep(key(1), phrase(1), lasting=True)
        assert await cache.find(key(1)) is not None
        assert await cache.find(key(2)) is None
        registry = cache._metrics.registry
        assert registry.get_sample_value("voice_tts_cache_hits_total", {"tier": "memory"}) == 1
        assert registry.get_sample_value("voice_tts_cache_misses_total") == 1
    async with opened(tmp_path) as cache:
        assert key(1) in cache
        found = await cache.find(key(1))
        assert found is not None
        assert found.words == phrase(1).words
        assert await cache.find(key(1)) is found, "it is in memory now"
        registry = cache._metrics.registry
        assert registry.get_sample_value("voice_tts_cache_hits_total", {"tier": "disk"}) == 1
        held = registry.get_sample_value("voice_tts_cache_bytes", {"tier": "disk"})
        assert held == len(phrase(1).to_bytes())


async def test_only_what_is_asked_for_twice_is_written(tmp_path: Path) -> None:
    async with opened(tmp_path) as cache:
        cache.keep(key(1), phrase(1))
        await asyncio.sleep(0.05)
        assert files_in(tmp_path) == []
        await cache.find(key(1))
        await eventually(lambda: len(list(tmp_path.glob("*.phrase"))) == 1)


async def test_what_is_spoken_anew_replaces_the_file(tmp_path: Path) -> None:
    async with opened(tmp_path) as cache:
        cache.keep(key(1), phrase(1), lasting=True)
        await eventually(lambda: key(1) in (cache._files or {}))
        cache.keep(key(1), phrase(2))
    async with opened(tmp_path) as cache:
        found = await cache.find(key(1))
        assert found is not None
        assert found.samples[0] == 2


async def test_without_a_folder_nothing_is_written(tmp_path: Path) -> None:
    async with opened(None) as cache:
        cache.keep(key(1), phrase(), lasting=True)
        assert await cache.find(key(1)) is not None
    assert files_in(tmp_path) == []


async def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = PhraseCache(MEMORY, tmp_path / "file", DISK, TtsMetrics(CollectorRegistry()))
    with pytest.raises(OSError):
        await cache.open()
    await cache.close()


async def test_phrases_are_forgotten_by_the_beginning_of_their_key(tmp_path: Path) -> None:
    async with opened(tmp_path) as cache:
        for name in ("cv_a-1", "cv_a-2", "cv_b-1"):
            cache.keep(name, phrase(), lasting=True)
        await eventually(lambda: len(files_in(tmp_path)) == 3)
        cache.forget("cv_a-")
        assert "cv_b-1" in cache
        assert await cache.find("cv_a-1") is None
        await eventually(lambda: len(files_in(tmp_path)) == 1)
    async with opened(tmp_path) as again:
        assert await again.find("cv_b-1") is not None
