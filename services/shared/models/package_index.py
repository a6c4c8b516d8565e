"""Finding a wheel's address on a Python package index.

Speaks the simple repository API (https://packaging.python.org/specifications/simple-repository-api/)
as JSON (PEP 691) and, for mirrors that have only that, HTML (PEP 503).
"""

import os
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit

import httpx

from services.shared.models.catalogue import Wheel
from services.shared.models.errors import DownloadCode, DownloadError
from services.shared.models.transfer import Retries, check_status, retrying

DEFAULT_INDEX = "https://pypi.org/simple"
_VARIABLES = ("VOICE_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
_JSON = "application/vnd.pypi.simple.v1+json"
_ACCEPT = f"{_JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"


def index_url(environ: Mapping[str, str] = os.environ) -> str:
    """The package index to use: the first variable set of those that uv and pip read, or PyPI."""
    for name in _VARIABLES:
        if value := environ.get(name, "").strip():
            # uv lets an index be named: `internal=https://…`
            return re.sub(r"^[\w.-]+=(?=\w+://)", "", value)
    return DEFAULT_INDEX


class PackageIndex:
    def __init__(self, client: httpx.Client, url: str, retries: Retries) -> None:
        self._client = client
        self._url = url.rstrip("/")
        self._retries = retries

    def locate(self, package: str, wheel: Wheel) -> str:
        """The address of `wheel`.

        Raises:
            DownloadError: network; not_found, also when the index offers another build of it.
        """
        page = f"{self._url}/{package}/"
        what = f"the index page {_bare(page)}"
        response = retrying(what, self._retries, lambda: self._get(what, page))
        for link in _links(response):
            if _filename(link) == wheel.filename:
                return urljoin(str(response.url), link)
        raise DownloadError(
            DownloadCode.NOT_FOUND, f"{wheel.filename} is not on the index {_bare(self._url)}"
        )

    def _get(self, what: str, page: str) -> httpx.Response:
        response = self._client.get(page, headers={"Accept": _ACCEPT})
        check_status(what, response)
        return response


def _filename(link: str) -> str:
    try:
        return unquote(urlsplit(link).path.rpartition("/")[2])
    except ValueError:
        return ""  # An address that cannot be read is not the one looked for.


def _bare(url: str) -> str:
    """`url` without the credentials that it may carry."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that cannot be read"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _links(response: httpx.Response) -> list[str]:
    if not response.headers.get("Content-Type", "").startswith(_JSON):
        return _Anchors(response.text).links
    try:
        return [str(file["url"]) for file in response.json()["files"]]
    except (ValueError, LookupError, TypeError) as error:
        raise DownloadError(
            DownloadCode.NOT_FOUND, f"{response.url.host} answered no index page: {error}"
        ) from error


class _Anchors(HTMLParser):
    """Collects where the anchors of a page lead."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.links += [value for name, value in attrs if name == "href" and value]
