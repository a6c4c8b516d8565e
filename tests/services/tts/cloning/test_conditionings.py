"""What engines computed for cloned voices, in memory: bounded, named by what made it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from services.tts.cloning.blobs import open_blobs
from services.tts.cloning.conditionings import Conditionings, conditioning_id, voice_version
from services.tts.cloning.store import VoiceStore
from services.tts.cloning.threads import Threads
from services.tts.engines.fake import FakeEngine
from services.tts.metrics import TtsMetrics
from services.tts.speakers import Speaker
from tests.services.tts.cloning.recordings import record

KILOBYTE = {"values": np.zeros(256, dtype=np.float32)}


def speaker(weights: str = "1") -> Speaker:
    engine = FakeEngine(cloning=True, weights=weights)
    engine.load()
    return Speaker(engine, TtsMetrics(CollectorRegistry()), 10.0)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Conditionings]:
    """Has room for three of a kilobyte."""
    threads = Threads()
    store = VoiceStore(open_blobs(str(tmp_path)))
    yield Conditionings(store, threads, {"fake": speaker()}, 3 * 1024, 10.0)
    threads.close()


def test_the_least_recently_made_leaves_first_and_bytes_are_counted(kept: Conditionings) -> None:
    voices = [record() for _ in range(4)]
    for voice in voices:
        kept.keep(voice, KILOBYTE)
    assert (len(kept), kept.bytes) == (3, 3 * 1024)
    kept.keep(voices[3], KILOBYTE)
    assert (len(kept), kept.bytes) == (3, 3 * 1024), "the same voice is there once"
    for voice in voices:
        kept.forget(voice.id)
    assert (len(kept), kept.bytes) == (0, 0)


def test_one_that_is_larger_than_all_the_room_is_kept_alone(kept: Conditionings) -> None:
    kept.keep(record(), KILOBYTE)
    kept.keep(record(), {"values": np.zeros(10_000, dtype=np.float32)})
    assert (len(kept), kept.bytes) == (1, 40_000)


async def test_what_was_used_stays(kept: Conditionings) -> None:
    first, *others = (record() for _ in range(4))
    made = kept.keep(first, KILOBYTE)
    for voice in others[:2]:
        kept.keep(voice, KILOBYTE)
    assert await kept.get(first, 1.0) is made
    kept.keep(others[2], KILOBYTE)
    assert await kept.get(first, 1.0) is made


def test_versions_name_reference_and_weights() -> None:
    voice = record()
    other = voice.consent.model_copy(update={"reference_sha256": "1" * 64})
    rerecorded = voice.model_copy(update={"consent": other})
    assert conditioning_id(voice) != conditioning_id(rerecorded)
    versions = {
        voice_version(each, speaker(weights))
        for each in (voice, rerecorded)
        for weights in ("1", "2")
    }
    assert len(versions) == 4
    renamed = voice.model_copy(update={"name": "Countess"})
    assert voice_version(renamed, speaker()) == voice_version(voice, speaker())
