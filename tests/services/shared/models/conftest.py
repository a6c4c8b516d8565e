"""A package index and model hub on the loopback interface, with the faults that real ones have."""

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from services.shared.models.catalogue import Wheel


class FileServer:
    """Serves `files` by path, with byte ranges, and misbehaves as told."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []
        """Path and Range header of each request, in order."""
        self.ranges = True
        self.cuts: dict[str, list[int]] = {}
        """By path: after how many bytes to drop the connection, one entry a request."""
        self.statuses: dict[str, list[int]] = {}
        """By path: what to answer instead, one entry a request."""
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join(timeout=5)
        self._http.server_close()

    def add_wheel(self, package: str, members: Mapping[str, bytes], *, html: bool = False) -> Wheel:
        """Publish a wheel with these members; returns its pin."""
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        filename = f"{package.replace('-', '_')}-1.0-py3-none-any.whl"
        self.files[f"/files/{filename}"] = data.getvalue()
        self.files[f"/simple/{package}/"] = _page(f"../../files/{filename}", html)
        digest = hashlib.sha256(data.getvalue()).hexdigest()
        return Wheel(version="1.0", filename=filename, size=len(data.getvalue()), sha256=digest)

    def fetched(self, path_end: str) -> list[str | None]:
        """The Range headers of the requests for a path that ends so."""
        return [span for path, span in self.requests if path.endswith(path_end)]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                span = self.headers.get("Range")
                server.requests.append((self.path, span))
                if planned := server.statuses.get(self.path):
                    return self.send_error(planned.pop(0))
                if self.path not in server.files:
                    return self.send_error(404)
                return self._send(server.files[self.path], span if server.ranges else None)

            def _send(self, content: bytes, span: str | None) -> None:
                start = int(span.removeprefix("bytes=").rstrip("-")) if span else 0
                if start >= len(content) and span:
                    return self.send_error(416)
                self.send_response(206 if span else 200)
                if span:
                    end = f"{len(content) - 1}/{len(content)}"
                    self.send_header("Content-Range", f"bytes {start}-{end}")
                if content.startswith(b"{"):
                    self.send_header("Content-Type", "application/vnd.pypi.simple.v1+json")
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                cuts = server.cuts.get(self.path)
                stop = start + cuts.pop(0) if cuts else len(content)
                self.wfile.write(content[start:stop])
                return None

            def log_message(self, format: str, *args: object) -> None:
                """Tests are quiet."""

        return Handler


def _page(link: str, html: bool) -> bytes:
    if html:
        return f'<html><body><a href="{link}#sha256=x">wheel</a></body></html>'.encode()
    return json.dumps({"files": [{"url": link}]}).encode()


@pytest.fixture
def server() -> Iterator[FileServer]:
    served = FileServer()
    yield served
    served.close()
