from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import pytest

from services.shared.models.errors import DownloadCode, DownloadError
from services.shared.models.package_index import DEFAULT_INDEX, PackageIndex, index_url
from services.shared.models.transfer import Retries, open_client

if TYPE_CHECKING:
    from tests.services.shared.models.conftest import FileServer

QUICK = Retries(attempts=2, backoff_s=0.001)


@pytest.fixture
def index(server: FileServer) -> Iterator[PackageIndex]:
    with open_client() as client:
        yield PackageIndex(client, f"{server.url}/simple/", QUICK)


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, DEFAULT_INDEX),
        ({"PIP_INDEX_URL": "https://pip/simple"}, "https://pip/simple"),
        ({"PIP_INDEX_URL": "https://pip", "UV_INDEX_URL": "https://uv"}, "https://uv"),
        ({"UV_DEFAULT_INDEX": "inner=https://uv/x=y"}, "https://uv/x=y"),
        ({"VOICE_INDEX_URL": "https://v", "UV_DEFAULT_INDEX": "https://uv"}, "https://v"),
        ({"VOICE_INDEX_URL": " "}, DEFAULT_INDEX),
    ],
)
def test_the_index_follows_the_environment(environ: dict[str, str], url: str) -> None:
    assert index_url(environ) == url


@pytest.mark.parametrize("html", [False, True])
def test_a_wheel_is_found_on_json_and_html_pages(
    server: FileServer, index: PackageIndex, html: bool
) -> None:
    wheel = server.add_wheel("some-data", {"x": b"1"}, html=html)

    address = httpx.URL(index.locate("some-data", wheel))

    assert str(address.copy_with(fragment=None)) == f"{server.url}/files/{wheel.filename}"


def test_another_version_is_not_taken_for_it(server: FileServer, index: PackageIndex) -> None:
    wheel = server.add_wheel("some-data", {"x": b"1"})
    newer = wheel.model_copy(update={"filename": "some_data-2.0-py3-none-any.whl"})

    with pytest.raises(DownloadError, match=r"some_data-2.0.*is not on the index") as caught:
        index.locate("some-data", newer)

    assert caught.value.code is DownloadCode.NOT_FOUND


@pytest.mark.parametrize(
    "page",
    [b"{}", b'{"files": 3}', b"{", b"", b"<a>no link</a>", b"\xff<", b'<a href="http://[x/">'],
)
def test_strange_pages_are_an_error(server: FileServer, index: PackageIndex, page: bytes) -> None:
    wheel = server.add_wheel("some-data", {"x": b"1"})
    server.files["/simple/some-data/"] = page

    with pytest.raises(DownloadError) as caught:
        index.locate("some-data", wheel)

    assert caught.value.code is DownloadCode.NOT_FOUND


def test_an_unknown_package(server: FileServer, index: PackageIndex) -> None:
    wheel = server.add_wheel("some-data", {"x": b"1"})

    with pytest.raises(DownloadError, match="answered 404"):
        index.locate("other-data", wheel)


def test_an_index_whose_address_makes_no_sense(server: FileServer) -> None:
    wheel = server.add_wheel("some-data", {"x": b"1"})
    with open_client() as client, pytest.raises(DownloadError) as caught:
        PackageIndex(client, "http://[x", QUICK).locate("some-data", wheel)

    assert caught.value.code is DownloadCode.NETWORK


def test_messages_keep_credentials_to_themselves(server: FileServer) -> None:
    wheel = server.add_wheel("some-data", {"x": b"1"})
    secret = server.url.replace("://", "://user:hush@")
    with open_client() as client:
        index = PackageIndex(client, f"{secret}/simple", QUICK)
        other = wheel.model_copy(update={"filename": "other.whl"})
        for package in ("some-data", "absent"):
            with pytest.raises(DownloadError) as caught:
                index.locate(package, other)
            assert "hush" not in str(caught.value)
