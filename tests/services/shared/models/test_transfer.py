from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from services.shared.models.errors import DownloadCode, DownloadError
from services.shared.models.transfer import RemoteFile, Retries, fetch, open_client

if TYPE_CHECKING:
    from tests.services.shared.models.conftest import FileServer

CONTENT = bytes(range(256)) * 4000  # about 1 MB
DIGEST = hashlib.sha256(CONTENT).hexdigest()
QUICK = Retries(attempts=3, backoff_s=0.001)
ONCE = Retries(attempts=1)


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with open_client() as client:
        yield client


@pytest.fixture
def remote(server: FileServer) -> RemoteFile:
    server.files["/data"] = CONTENT
    return RemoteFile("data", f"{server.url}/data", len(CONTENT), DIGEST)


class Tally:
    """Adds up the progress that is told."""

    def __init__(self) -> None:
        self.done = 0

    def __call__(self, count: int) -> None:
        self.done += count


def test_a_file_arrives_whole(client: httpx.Client, remote: RemoteFile, tmp_path: Path) -> None:
    tally = Tally()

    path = fetch(client, remote, tmp_path, QUICK, tally)

    assert path.read_bytes() == CONTENT
    assert tally.done == len(CONTENT)
    assert [entry.name for entry in tmp_path.iterdir()] == [DIGEST]


def test_a_file_that_is_here_is_not_fetched(
    client: httpx.Client, remote: RemoteFile, tmp_path: Path, server: FileServer
) -> None:
    tally = Tally()
    for _ in range(2):
        fetch(client, remote, tmp_path, QUICK, tally)

    assert len(server.requests) == 1
    assert tally.done == 2 * len(CONTENT)


def test_a_cut_connection_is_taken_up_where_it_broke(
    client: httpx.Client, remote: RemoteFile, tmp_path: Path, server: FileServer
) -> None:
    server.cuts["/data"] = [300_000, 200_000]
    tally = Tally()

    path = fetch(client, remote, tmp_path, QUICK, tally)

    assert path.read_bytes() == CONTENT
    first, *resumed = server.fetched("/data")
    assert first is None
    starts = [int(str(span).removeprefix("bytes=").rstrip("-")) for span in resumed]
    assert len(starts) == 2 and 0 < starts[0] <= 300_000 < starts[1] <= 500_000
    assert tally.done == len(CONTENT)


def test_a_later_run_goes_on_where_an_earlier_one_gave_up(
    client: httpx.Client, remote: RemoteFile, tmp_path: Path, server: FileServer
) -> None:
    server.cuts["/data"] = [600_000]
    with pytest.raises(DownloadError, match=r"data from 127\.0\.0\.1 could not be") as caught:
        fetch(client, remote, tmp_path, ONCE, Tally())
    assert caught.value.code is DownloadCode.NETWORK
    kept = (tmp_path / f"{DIGEST}.part").stat().st_size
    assert kept > 0

    tally = Tally()
    path = fetch(client, remote, tmp_path, ONCE, tally)

    assert path.read_bytes() == CONTENT
    assert server.fetched("/data")[-1] == f"bytes={kept}-"
    assert tally.done == len(CONTENT)


def test_a_server_without_ranges_is_asked_for_everything_again(
    client: httpx.Client, remote: RemoteFile, tmp_path: Path, server: FileServer
) -> None:
    server.ranges = False
    server.cuts["/data"] = [300_000]
    tally = Tally()

    assert fetch(client, remote, tmp_path, QUICK, tally).read_bytes() == CONTENT
    assert tally.done == len(CONTENT)


@pytest.mark.parametrize("left", [b"rubbish", b"x" * (len(CONTENT) + 5), b"y" * len(CONTENT)])
def test_a_bad_part_of_an_earlier_run_is_thrown_away(
    client: httpx.Client, remote: RemoteFile, tmp_path: Path, left: bytes
) -> None:
    (tmp_path / f"{DIGEST}.part").write_bytes(left)
    tally = Tally()

    assert fetch(client, remote, tmp_path, QUICK, tally).read_bytes() == CONTENT
    assert tally.done == len(CONTENT)


@pytest.mark.parametrize(
    "wrong", [b"\0" * len(CONTENT), CONTENT[:-1], CONTENT + b"!", b"", CONTENT * 3]
)
def test_other_bytes_than_pinned_are_refused(
    client: httpx.Client, remote: RemoteFile, tmp_path: Path, server: FileServer, wrong: bytes
) -> None:
    server.files["/data"] = wrong
    tally = Tally()

    with pytest.raises(DownloadError, match="not what the catalogue pins") as caught:
        fetch(client, remote, tmp_path, QUICK, tally)

    assert caught.value.code is DownloadCode.CHECKSUM
    assert not (tmp_path / DIGEST).exists()
    assert tally.done == 0


def test_a_busy_server_is_asked_again(
    client: httpx.Client, remote: RemoteFile, tmp_path: Path, server: FileServer
) -> None:
    server.statuses["/data"] = [503, 429]

    assert fetch(client, remote, tmp_path, QUICK, Tally()).read_bytes() == CONTENT


def test_a_server_that_stays_busy_is_given_up(
    client: httpx.Client, remote: RemoteFile, tmp_path: Path, server: FileServer
) -> None:
    server.statuses["/data"] = [503] * 9

    with pytest.raises(DownloadError, match="answered 503") as caught:
        fetch(client, remote, tmp_path, QUICK, Tally())

    assert caught.value.code is DownloadCode.NETWORK
    assert len(server.requests) == QUICK.attempts


def test_progress_earns_more_attempts(
    client: httpx.Client, remote: RemoteFile, tmp_path: Path, server: FileServer
) -> None:
    server.cuts["/data"] = [100_000] * 8
    patient = Retries(attempts=2, backoff_s=0.001, enough_progress=1)

    assert fetch(client, remote, tmp_path, patient, Tally()).read_bytes() == CONTENT


def test_a_refusal_is_not_repeated(
    client: httpx.Client, remote: RemoteFile, tmp_path: Path, server: FileServer
) -> None:
    del server.files["/data"]

    with pytest.raises(DownloadError, match="answered 404") as caught:
        fetch(client, remote, tmp_path, QUICK, Tally())

    assert caught.value.code is DownloadCode.NOT_FOUND
    assert len(server.requests) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "file:///x", "http://[x/"])
def test_an_address_without_an_answer(client: httpx.Client, tmp_path: Path, url: str) -> None:
    with pytest.raises(DownloadError) as caught:
        fetch(client, RemoteFile("data", url, 1, DIGEST), tmp_path, QUICK, Tally())

    assert caught.value.code is DownloadCode.NETWORK


def test_certificates_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")

    with pytest.raises(DownloadError, match="certificate settings"):
        open_client()
