import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.shared.models.catalogue import (
    Catalogue,
    HubSource,
    Licence,
    ModelEntry,
    ModelFile,
    ModelKind,
)
from services.shared.models.errors import (
    ModelCorrupt,
    ModelMissing,
    ModelUnreadable,
    UnknownModel,
)
from services.shared.models.store import ModelStatus, ModelStore, default_root

CONTENT = {"model.bin": b"weights" * 100, "config.json": b"{}"}


def made_catalogue(content: dict[str, bytes] = CONTENT) -> Catalogue:
    files = tuple(
        ModelFile(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        for path, data in content.items()
    )
    entry = ModelEntry(
        id="tiny",
        kind=ModelKind.ASR,
        title="Tiny",
        licence=Licence(name="MIT", url="https://example.org"),
        languages=("en",),
        size=sum(file.size for file in files),
        files=files,
        sources=(HubSource(hub="a/b", revision="0" * 40),),
    )
    return Catalogue(wheels={}, models=(entry,))


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """A store whose one model was put there by hand and verified."""
    store = ModelStore(tmp_path / "models", made_catalogue())
    fill(store.path("tiny"))
    store.verify("tiny")
    return store


def fill(folder: Path) -> None:
    folder.mkdir(parents=True)
    for path, data in CONTENT.items():
        (folder / path).write_bytes(data)


def test_the_root_follows_the_environment(tmp_path: Path) -> None:
    assert default_root({"VOICE_MODELS_DIR": "/srv/models"}) == Path("/srv/models")
    assert default_root({"XDG_CACHE_HOME": "/c"}) == Path("/c/voice-services/models")
    ignored = default_root({"XDG_CACHE_HOME": "relative"})
    assert ignored == default_root({}) == Path.home() / ".cache/voice-services/models"


def test_a_whole_model_is_present(store: ModelStore) -> None:
    assert store.status("tiny") is ModelStatus.PRESENT
    assert store.require("tiny") == store.root / "tiny"


def test_a_missing_model_says_what_to_run(tmp_path: Path) -> None:
    store = ModelStore(tmp_path, made_catalogue())

    assert store.status("tiny") is ModelStatus.MISSING
    for check in (store.require, store.verify):
        with pytest.raises(ModelMissing) as caught:
            check("tiny")
        assert str(caught.value) == (
            f"model tiny is not in {tmp_path}; fetch it with `uv run voice models download tiny`"
        )


def test_a_truncated_file_is_seen_at_once(store: ModelStore) -> None:
    (store.path("tiny") / "model.bin").write_bytes(b"weights")

    assert store.status("tiny") is ModelStatus.CORRUPT
    with pytest.raises(ModelCorrupt) as caught:
        store.require("tiny")
    assert str(caught.value) == (
        "model tiny is damaged (model.bin has 7 of 700 bytes); "
        "mend it with `uv run voice models download tiny`"
    )


def test_a_deleted_file_is_seen_at_once(store: ModelStore) -> None:
    (store.path("tiny") / "config.json").unlink()

    with pytest.raises(ModelCorrupt, match=r"config\.json is missing"):
        store.require("tiny")


@contextmanager
def somebody_else() -> Iterator[None]:
    """Root reads all: be nobody meanwhile."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("closed", ["", "model.bin", ".manifest.json"])
def test_what_this_user_may_not_read_is_said(closed: str) -> None:
    with tempfile.TemporaryDirectory() as root:  # pytest's own folder is closed to others
        Path(root).chmod(0o755)
        store = ModelStore(Path(root) / "models", made_catalogue())
        fill(store.path("tiny"))
        store.verify("tiny")
        shut = store.path("tiny") / closed
        mode = shut.stat().st_mode
        shut.chmod(0)
        try:
            with (
                somebody_else(),
                pytest.raises(ModelUnreadable, match=r"chmod -R go\+rX") as caught,
            ):
                store.require("tiny")
        finally:
            shut.chmod(mode)
        assert str(shut) in str(caught.value)
        assert store.require("tiny") == store.path("tiny")


def test_flipped_bytes_are_seen_by_verify_and_remembered(store: ModelStore) -> None:
    (store.path("tiny") / "model.bin").write_bytes(b"WEIGHTS" * 100)
    assert store.status("tiny") is ModelStatus.PRESENT  # the quick check reads no bytes

    with pytest.raises(ModelCorrupt, match=r"model\.bin has the wrong sha256"):
        store.verify("tiny")

    assert store.status("tiny") is ModelStatus.CORRUPT


def test_files_put_there_by_hand_count_once_verified(tmp_path: Path) -> None:
    store = ModelStore(tmp_path, made_catalogue())
    fill(store.path("tiny"))
    with pytest.raises(ModelCorrupt, match="never verified"):
        store.require("tiny")

    store.verify("tiny")

    assert store.require("tiny") == tmp_path / "tiny"


def test_a_new_pin_of_the_same_size_makes_the_old_files_stale(store: ModelStore) -> None:
    newer = made_catalogue({**CONTENT, "config.json": b"[]"})

    with pytest.raises(ModelCorrupt, match="another version"):
        ModelStore(store.root, newer).require("tiny")


def test_a_broken_manifest_is_no_proof(store: ModelStore) -> None:
    (store.path("tiny") / ".manifest.json").write_text("{")

    assert store.status("tiny") is ModelStatus.CORRUPT


def test_verify_counts_every_byte(store: ModelStore) -> None:
    counts: list[int] = []

    store.verify("tiny", counts.append)

    assert sum(counts) == 702


def test_remove(store: ModelStore) -> None:
    assert store.remove("tiny") is True
    assert store.status("tiny") is ModelStatus.MISSING
    assert store.remove("tiny") is False


def test_unknown_ids_are_refused_everywhere(store: ModelStore) -> None:
    for call in (store.path, store.status, store.require, store.verify, store.remove):
        with pytest.raises(UnknownModel, match="known are tiny"):
            call("huge")


@pytest.mark.models
def test_the_default_models_verify(model_store: ModelStore) -> None:
    for model_id in model_store.catalogue.default_ids:
        model_store.verify(model_id)
        assert model_store.require(model_id).is_dir()
