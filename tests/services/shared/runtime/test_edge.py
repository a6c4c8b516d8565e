"""The HTTP edge: one shape of error, a limit to every body, health and metrics."""

import socket
import time
from collections.abc import Iterator

import httpx
import pytest

from services.shared.protocol.base import Error, ErrorCode
from services.shared.runtime.lifecycle import Phase
from tests.services.serving import LiveService
from tests.services.shared.runtime.conftest import MAX_BODY, Start

pytestmark = pytest.mark.timeout(30)


def http(live: LiveService) -> httpx.Client:
    return httpx.Client(base_url=live.http, trust_env=False, timeout=10)


def error_of(response: httpx.Response) -> Error:
    assert response.headers["content-type"] == "application/json"
    return Error.model_validate_json(response.content)


def pieces(total: int, first: bytes) -> Iterator[bytes]:
    """A body whose length nobody knows before."""
    yield first
    for _ in range(0, total, 1000):
        yield b" " * 1000


@pytest.mark.parametrize("path", ["/form", "/order"])
@pytest.mark.parametrize("size", [MAX_BODY + 1, 5_000_000])
def test_a_declared_body_over_the_limit_is_refused(start_tiny: Start, path: str, size: int) -> None:
    live = start_tiny()
    with http(live) as client:
        response = client.post(path, content=b" " * size)
        assert response.status_code == 413
        assert error_of(response).code is ErrorCode.MESSAGE_TOO_LARGE
        assert str(MAX_BODY) in error_of(response).message
        assert client.post("/order", json={"text": "fits"}).json() == 4


@pytest.mark.parametrize(
    ("path", "kind", "first"),
    [
        ("/order", "application/json", b'{"text":"a"}'),
        (
            "/form",
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n',
        ),
    ],
)
def test_an_undeclared_body_over_the_limit_is_refused(
    start_tiny: Start, path: str, kind: str, first: bytes
) -> None:
    live = start_tiny()
    with http(live) as client:
        body = pieces(300_000, first)
        response = client.post(path, content=body, headers={"Content-Type": kind})
        assert response.status_code == 413, response.text
        assert error_of(response).code is ErrorCode.MESSAGE_TOO_LARGE
        assert client.post("/order", json={"text": "fits"}).json() == 4


@pytest.mark.parametrize(
    ("header", "status"),
    [("Origin: https://evil.example", 403), ("Authorization: Bearer wrong", 401)],
)
def test_who_is_refused_is_not_listened_to_for_ever(
    start_tiny: Start, monkeypatch: pytest.MonkeyPatch, header: str, status: int
) -> None:
    monkeypatch.setattr("services.shared.runtime.edge.LINGER_S", 0.3)
    host, _, port = start_tiny(keys=("red",)).address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as sender:
        head = f"POST /form HTTP/1.1\r\nHost: a\r\n{header}\r\nContent-Length: 1000\r\n\r\n"
        sender.sendall(head.encode())
        assert sender.recv(1000).startswith(f"HTTP/1.1 {status} ".encode())
        began = time.monotonic()
        with pytest.raises(ConnectionError):
            while time.monotonic() - began < 5:
                sender.sendall(b"x")
                time.sleep(0.05)


@pytest.mark.parametrize(
    ("body", "status", "code", "said"),
    [
        (b"{", 400, ErrorCode.INVALID_JSON, "not JSON"),
        (b"{}", 422, ErrorCode.INVALID_MESSAGE, 'field "text" is required'),
        (b'{"text": 1}', 422, ErrorCode.INVALID_MESSAGE, 'field "text"'),
        (b"[" * 20_000, 400, ErrorCode.INVALID_JSON, "not JSON"),
        (b"\xff\xfe", 400, ErrorCode.INVALID_JSON, "not JSON"),
    ],
)
def test_a_bad_body_gets_the_one_shape_of_error(
    start_tiny: Start, body: bytes, status: int, code: ErrorCode, said: str
) -> None:
    live = start_tiny()
    with http(live) as client:
        response = client.post("/order", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == status
    assert error_of(response).code is code
    assert said in error_of(response).message


def test_other_faults_have_that_shape_too(start_tiny: Start) -> None:
    live = start_tiny(keys=("red",))
    with http(live) as client:
        missing, wrong_method = client.get("/nowhere"), client.get("/order")
        no_key, fault = client.post("/form"), client.get("/fault")
    assert (missing.status_code, error_of(missing).code) == (404, ErrorCode.NOT_FOUND)
    assert wrong_method.status_code == 405
    assert wrong_method.headers["allow"] == "POST"
    assert (no_key.status_code, error_of(no_key).code) == (401, ErrorCode.UNAUTHORIZED)
    assert (fault.status_code, error_of(fault).code) == (500, ErrorCode.INTERNAL)
    assert "secret" not in fault.text
    assert live.metric("voice_errors_total", code="internal") == 1


def test_health_and_metrics_need_no_key(start_tiny: Start) -> None:
    live = start_tiny(keys=("red",))
    with http(live) as client:
        assert client.get("/health/live").json() == {"live": True, "hung": []}
        ready = client.get("/health/ready")
        assert ready.json() == {"ready": True, "phase": "ready", "sessions": 0}
        assert "voice_sessions 0.0" in client.get("/metrics").text


def test_health_tells_what_is_wrong(start_tiny: Start) -> None:
    class Stuck:
        name = "asr"

        def busy_for(self) -> float:
            return 1e6

    live = start_tiny()
    with http(live) as client:
        live.lifecycle.owners.append(Stuck())
        hung = client.get("/health/live")
        assert (hung.status_code, hung.json()["hung"]) == (503, ["asr"])
        live.lifecycle.phase = Phase.STARTING
        early = client.get("/health/ready")
        assert (early.status_code, early.json()["phase"]) == (503, "starting")
