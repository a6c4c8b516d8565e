"""A voice is there whole or not at all, whenever somebody is killed."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tts.cloning.blobs import Blob, BlobMissing, Blobs, FolderBlobs
from services.tts.cloning.store import Tensors, VoiceGone, VoiceStore
from tests.services.tts.cloning.recordings import STATEMENT, record

TENSORS: Tensors = {
    "hertz": np.array([120.0], dtype=np.float32),
    "tokens": np.arange(6).reshape(2, 3),
}
FLAC = b"fLaC, or nearly"


class Killed(Exception):
    """The process ends here."""


class MemoryBlobs:
    """A dictionary that stops working after `writes` changes, as a killed process does."""

    def __init__(self, objects: dict[str, bytes], writes: int = 1000) -> None:
        self.objects = objects
        self.writes = writes

    def _change(self) -> None:
        if self.writes == 0:
            raise Killed
        self.writes -= 1

    def put(self, name: str, data: bytes) -> None:
        self._change()
        self.objects[name] = data

    def get(self, name: str) -> bytes:
        if name not in self.objects:
            raise BlobMissing(name)
        return self.objects[name]

    def exists(self, name: str) -> bool:
        return name in self.objects

    def delete(self, name: str) -> None:
        self._change()
        self.objects.pop(name, None)

    def list(self, folder: str) -> list[Blob]:
        return [Blob(name, 0.0) for name in self.objects if name.startswith(f"{folder}/")]


def check_whole(objects: dict[str, bytes]) -> frozenset[str]:
    """Every voice that is listed can be read and spoken; gives their ids."""
    store = VoiceStore(MemoryBlobs(objects))
    for voice_id in store.ids():
        voice = store.read(voice_id)
        assert store.reference(voice_id) == FLAC
        kept = store.conditioning(voice, "v1")
        assert kept is not None
        assert {name: tensor.tolist() for name, tensor in kept.items()} == {
            name: tensor.tolist() for name, tensor in TENSORS.items()
        }
    return store.ids()


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["create", "rename", "delete"]), st.integers(0, 8)), max_size=12
    )
)
def test_whoever_is_killed_leaves_whole_voices_only(steps: list[tuple[str, int]]) -> None:
    """Each step is carried out by a process that is killed after some writes, or not at all."""
    objects: dict[str, bytes] = {}
    for action, writes in steps:
        store = VoiceStore(MemoryBlobs(objects, writes))
        there = sorted(store.ids())
        try:
            if action == "create":
                store.create(record(), FLAC, "v1", TENSORS)
            elif there and action == "rename":
                store.rename(there[0], "Grace")
            elif there:
                store.delete(there[0])
        except (Killed, VoiceGone):  # gone: the one before was killed while it deleted
            pass
        check_whole(objects)
    whole = check_whole(objects)
    VoiceStore(MemoryBlobs(objects)).sweep()
    deleted = {name.split("/")[1].removesuffix(".json") for name in objects if "deleted/" in name}
    assert check_whole(objects) == whole - deleted
    for name in objects:
        kind, voice_id = name.split("/")[:2]
        assert kind == "deleted" or voice_id in whole - deleted


@pytest.fixture
def store(tmp_path: Path) -> VoiceStore:
    return VoiceStore(FolderBlobs(tmp_path))


def test_a_deleted_voice_leaves_its_consent_and_no_audio(store: VoiceStore, tmp_path: Path) -> None:
    voice = record()
    store.create(voice, FLAC, "v1", TENSORS)
    assert store.ids() == {voice.id}
    store.delete(voice.id)
    assert store.ids() == frozenset()
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.name for path in left] == [f"{voice.id}.json"]
    deletion = store.deletion(voice.id)
    assert (deletion.id, deletion.consent.statement) == (voice.id, STATEMENT)
    assert deletion.deleted_at >= voice.created_at
    for gone in (store.read, store.delete, store.reference):
        with pytest.raises(VoiceGone):
            gone(voice.id)


def test_a_rename_does_not_bring_a_deleted_voice_back(tmp_path: Path) -> None:
    voice = record()

    class Racing(FolderBlobs):
        """Deletes the voice elsewhere right before a record is written."""

        armed = False

        def put(self, name: str, data: bytes) -> None:
            if self.armed and name.endswith("voice.json"):
                self.armed = False
                VoiceStore(FolderBlobs(tmp_path)).delete(voice.id)
            super().put(name, data)

    blobs = Racing(tmp_path)
    store = VoiceStore(blobs)
    store.create(voice, FLAC, "v1", TENSORS)
    blobs.armed = True
    with pytest.raises(VoiceGone):
        store.rename(voice.id, "Grace")
    assert store.ids() == frozenset()


def test_conditionings_are_kept_by_version(store: VoiceStore) -> None:
    voice = record()
    store.create(voice, FLAC, "v1", TENSORS)
    assert store.conditioning(voice, "v2") is None
    newer = {"hertz": np.array([90.0], dtype=np.float32)}
    store.add_conditioning(voice, "v2", newer)
    for version, hertz in (("v1", 120.0), ("v2", 90.0)):
        kept = store.conditioning(voice, version)
        assert kept is not None
        assert kept["hertz"][0] == hertz


def test_a_conditioning_that_comes_after_the_deletion_is_not_kept(
    store: VoiceStore, tmp_path: Path
) -> None:
    voice = record()
    store.create(voice, FLAC, "v1", TENSORS)
    store.delete(voice.id)
    with pytest.raises(VoiceGone):
        store.add_conditioning(voice, "v2", TENSORS)
    assert list(tmp_path.rglob("*.safetensors")) == []


def test_a_damaged_conditioning_is_none(store: VoiceStore, tmp_path: Path) -> None:
    voice = record()
    store.create(voice, FLAC, "v1", TENSORS)
    [file] = tmp_path.rglob("*.safetensors")
    os.truncate(file, 20)
    assert store.conditioning(voice, "v1") is None


@pytest.mark.parametrize("voice_id", ["", "..", "../../etc", "cv_", "cv_" + "g" * 32, "joe"])
def test_only_ids_that_we_made_reach_the_store(store: VoiceStore, voice_id: str) -> None:
    for act in (store.read, store.delete, store.reference, store.exists, store.deletion):
        with pytest.raises(VoiceGone):
            act(voice_id)


def test_what_others_put_there_is_no_voice(store: VoiceStore, tmp_path: Path) -> None:
    for name in ("voices/readme.txt", "voices/joe/voice.json", "voices/x/y/voice.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    assert store.ids() == frozenset()


def test_the_dictionary_is_a_store_of_objects() -> None:
    blobs: Blobs = MemoryBlobs({})
    blobs.put("voices/a/b", b"1")
    assert [blob.name for blob in blobs.list("voices")] == ["voices/a/b"]
