"""Fetching one pinned file over HTTP: resumable, bounded, verified while it streams."""

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import httpx

from services.shared.models.errors import DownloadCode, DownloadError
from services.shared.models.store import BytesDone

_CHUNK = 1 << 18
_RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})

T = TypeVar("T")


@dataclass(frozen=True)
class Retries:
    """How often to try in all, and how long to wait in between: 0.5, 1, 2, 4 … s."""

    attempts: int = 5
    backoff_s: float = 0.5
    enough_progress: int = 1 << 20
    """After so many new bytes a broken connection counts as the first failure again."""

    def wait(self, failures: int) -> None:
        time.sleep(min(self.backoff_s * 2 ** (failures - 1), 30.0))


@dataclass(frozen=True)
class RemoteFile:
    """What is to be fetched: its name for people, where it is, and its pin."""

    name: str
    url: str
    size: int
    sha256: str

    @property
    def host(self) -> str:
        try:
            return urlsplit(self.url).hostname or self.url
        except ValueError:
            return self.url


class _Retry(Exception):
    """This attempt failed, but another may not."""


def open_client() -> httpx.Client:
    """A client that honours the proxy and certificate variables of the environment.

    Raises:
        DownloadError: the certificates or proxies named there cannot be used.
    """
    try:
        return httpx.Client(
            follow_redirects=True,
            timeout=httpx.Timeout(30.0, connect=10.0),
            # Compressed transfer would make byte ranges and sizes mean something else.
            headers={"User-Agent": "voice-services", "Accept-Encoding": "identity"},
        )
    except (OSError, ValueError) as error:
        raise DownloadError(
            DownloadCode.NETWORK, f"the proxy or certificate settings cannot be used: {error}"
        ) from error


def retrying(
    what: str,
    retries: Retries,
    attempt: Callable[[], T],
    received: Callable[[], int] = lambda: 0,
) -> T:
    """Run `attempt`, again while it fails in a way that may pass.

    `received` tells how many bytes all attempts together have got.

    Raises:
        DownloadError: `network` once the attempts are used up; others pass through.
    """
    failures, before = 0, received()
    while True:
        try:
            return attempt()
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise _unreachable(what, error) from error
        except (httpx.RequestError, _Retry) as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):  # Will fail the next time too.
                hint = "; if your network has its own authority, name its file in SSL_CERT_FILE"
                raise _unreachable(what, error, hint) from error
            if received() - before >= retries.enough_progress:
                failures, before = 0, received()
            failures += 1
            if failures >= retries.attempts:
                raise _unreachable(what, error) from error
            retries.wait(failures)


def _unreachable(what: str, error: Exception, hint: str = "") -> DownloadError:
    reason = str(error) or type(error).__name__
    return DownloadError(DownloadCode.NETWORK, f"{what} could not be fetched: {reason}{hint}")


def check_status(what: str, response: httpx.Response) -> None:
    """Raise for anything but success: to try again, or DownloadError `not_found`."""
    if response.status_code in _RETRIED_STATUS:
        raise _Retry(f"{response.url.host} answered {response.status_code}")
    if not response.is_success:
        raise DownloadError(
            DownloadCode.NOT_FOUND,
            f"{what} could not be fetched: {response.url.host} answered {response.status_code}",
        )


class _Partial:
    """The bytes received so far: on disk, hashed and counted."""

    def __init__(self, path: Path, on_bytes: BytesDone) -> None:
        self._on_bytes = on_bytes
        self._file = path.open("a+b")
        self._digest = hashlib.sha256()
        self.size = 0
        self._file.seek(0)
        while chunk := self._file.read(_CHUNK):
            self._count(chunk)

    def append(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._count(chunk)

    def restart(self) -> None:
        """Forget everything received."""
        self._file.seek(0)
        self._file.truncate()
        self._on_bytes(-self.size)
        self._digest = hashlib.sha256()
        self.size = 0

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def is_whole(self, file: RemoteFile) -> bool:
        return self.size == file.size and self._digest.hexdigest() == file.sha256

    def _count(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        self.size += len(chunk)
        self._on_bytes(len(chunk))


def fetch(
    client: httpx.Client, file: RemoteFile, folder: Path, retries: Retries, on_bytes: BytesDone
) -> Path:
    """Fetch `file` into `folder`, named by its sha256, and return where it lies.

    What an earlier run left as `<sha256>.part` is continued. `on_bytes` hears of bytes that are
    here already as well, and of a negative number when bad ones are thrown away.

    Raises:
        DownloadError: network, not_found or checksum.
        OSError: the folder cannot be written.
    """
    part, whole = folder / f"{file.sha256}.part", folder / file.sha256
    if whole.exists():  # Only ever put there after its hash was checked.
        on_bytes(file.size)
        return whole
    partial = _Partial(part, on_bytes)
    try:
        if not _complete(client, file, partial, retries):
            raise DownloadError(
                DownloadCode.CHECKSUM,
                f"{file.name} from {file.host} is not what the catalogue pins "
                f"({partial.size} of {file.size} bytes, or another sha256)",
            )
    except DownloadError as error:
        if error.code is DownloadCode.CHECKSUM:
            partial.restart()
        raise
    finally:
        partial.close()
    part.replace(whole)
    return whole


def _complete(client: httpx.Client, file: RemoteFile, partial: _Partial, retries: Retries) -> bool:
    """Receive what is missing; True when the result is the pinned file."""
    resumed = partial.size > 0
    _receive_all(client, file, partial, retries)
    if resumed and not partial.is_whole(file):
        # What was continued may itself have been bad: once more, from the start.
        partial.restart()
        _receive_all(client, file, partial, retries)
    return partial.is_whole(file)


def _receive_all(
    client: httpx.Client, file: RemoteFile, partial: _Partial, retries: Retries
) -> None:
    what = f"{file.name} from {file.host}"
    retrying(what, retries, lambda: _receive(client, file, partial), lambda: partial.size)


def _receive(client: httpx.Client, file: RemoteFile, partial: _Partial) -> None:
    """One request, from where `partial` ends."""
    if partial.size > file.size:
        partial.restart()
    if partial.size == file.size:
        return
    headers = {"Range": f"bytes={partial.size}-"} if partial.size else {}
    with client.stream("GET", file.url, headers=headers) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            partial.restart()
            raise _Retry("the server has fewer bytes than are here")
        check_status(file.name, response)
        if partial.size and not _continues(response, partial.size):
            partial.restart()
        for chunk in response.iter_raw():
            partial.append(chunk)
            if partial.size > file.size:
                return  # Longer than it may be: no need to see how much longer.


def _continues(response: httpx.Response, start: int) -> bool:
    span = response.headers.get("Content-Range", "")
    return response.status_code == httpx.codes.PARTIAL_CONTENT and span.startswith(
        f"bytes {start}-"
    )
