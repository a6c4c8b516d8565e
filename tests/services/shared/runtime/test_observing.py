"""Every request and connection has an id, lines of log and counts."""

from collections.abc import Iterator

import httpx
import pytest
import structlog
from structlog.testing import capture_logs
from structlog.types import EventDict
from websockets.sync.client import connect

from services.shared.runtime.observing import request_id_of
from tests.services.serving import LiveService, until
from tests.services.shared.runtime.conftest import Start

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
def logged(start_tiny: Start) -> Iterator["Logged"]:
    """A tiny service, and what it logs."""
    live = start_tiny(keys=("red",))
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as entries:
        yield Logged(live, entries)


class Logged:
    def __init__(self, live: LiveService, entries: list[EventDict]) -> None:
        self.live = live
        self._entries = entries

    def lines(self, event: str) -> list[EventDict]:
        """What was logged of `event` until now; waits for the first."""

        def found() -> list[EventDict]:
            return [entry for entry in self._entries if entry["event"] == event]

        until(lambda: bool(found()))
        return found()


def get(live: LiveService, path: str, **headers: str) -> httpx.Response:
    return httpx.get(f"{live.http}{path}", headers=headers, trust_env=False)


def test_the_id_of_the_proxy_is_kept_and_answered(logged: Logged) -> None:
    answer = get(logged.live, "/nowhere", **{"X-Request-ID": "abc-123"})
    assert answer.headers["x-request-id"] == "abc-123"
    [line] = logged.lines("request")
    said = {"request_id": "abc-123", "log_level": "info", "method": "GET"}
    assert line.items() >= {**said, "route": "unknown", "status": 404}.items()
    assert line["seconds"] >= 0


@pytest.mark.parametrize("given", ["", "a b", 'x"y', "x\tevent=fine", "a" * 129, "é"])
def test_an_id_that_is_none_is_replaced(given: str) -> None:
    assert request_id_of({"X-Request-ID": given}) != given
    assert len(request_id_of({"X-Request-ID": given})) == 32


def test_a_fault_is_found_by_its_id(logged: Logged) -> None:
    answer = get(logged.live, "/fault")
    assert answer.status_code == 500
    [failure] = logged.lines("unexpected failure")
    [request] = logged.lines("request")
    found = answer.headers["x-request-id"]
    assert failure["request_id"] == request["request_id"] == found
    assert isinstance(failure["exc_info"], KeyError)
    assert request["status"] == 500


def test_a_connection_is_told_when_it_opens_and_when_it_closes(logged: Logged) -> None:
    headers = {"Authorization": "Bearer red", "X-Request-ID": "call-7"}
    with connect(f"{logged.live.ws}/talk", additional_headers=headers) as socket:
        assert socket.response is not None
        assert socket.response.headers["x-request-id"] == "call-7"
    [opened], [closed] = logged.lines("connection opened"), logged.lines("connection closed")
    assert opened["request_id"] == closed["request_id"] == "call-7"
    assert opened["route"] == closed["route"] == "/talk"
    assert closed["code"] == 1000
    assert len(closed["session_id"]) == 32


def test_the_close_code_is_that_of_whoever_closed(logged: Logged) -> None:
    headers = {"Authorization": "Bearer red"}
    with connect(f"{logged.live.ws}/talk", additional_headers=headers) as socket:
        socket.close(4711)
    with connect(f"{logged.live.ws}/talk", additional_headers=headers) as socket:
        socket.socket.shutdown(2)
    until(lambda: len(logged.lines("connection closed")) == 2)
    assert [line["code"] for line in logged.lines("connection closed")] == [4711, 1006]


def test_nothing_that_a_client_invents_becomes_a_label(start_tiny: Start) -> None:
    live = start_tiny()
    for path in ("/nowhere", "/else/where"):
        httpx.request("PROPFIND", f"{live.http}{path}", trust_env=False)
    told = {"method": "unknown", "route": "unknown", "status": "404"}
    until(lambda: live.metric("voice_http_requests_total", **told) == 2)
    assert live.metric("voice_http_request_seconds_count", route="unknown") == 2


def test_machines_that_ask_all_the_time_fill_no_log(logged: Logged) -> None:
    for path in ("/health/live", "/health/ready", "/metrics", "/nowhere"):
        get(logged.live, path)
    until(lambda: len(logged.lines("request")) == 4)
    told = [(line["route"], line["log_level"]) for line in logged.lines("request")]
    quiet = [(path, "debug") for path in ("/health/live", "/health/ready", "/metrics")]
    assert told == [*quiet, ("unknown", "info")]
    assert logged.live.metric("voice_http_requests_total", route="/health/live") == 1
