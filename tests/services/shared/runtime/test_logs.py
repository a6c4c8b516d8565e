"""One event a line, from structlog and from the standard library alike."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from services.shared.runtime.config import LogConfig
from services.shared.runtime.logs import configure_logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    others = {name: logging.getLogger(name).level for name in ("uvicorn.error", "uvicorn.access")}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in others.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_every_event_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(LogConfig(format="json"), "asr")
    structlog.contextvars.bind_contextvars(session_id="s1")
    structlog.get_logger("here").info("turn over", words=3)
    logging.getLogger("elsewhere").warning("from %s", "outside")
    ours, theirs = lines(capsys)
    assert (
        ours.items()
        >= {
            "event": "turn over",
            "words": 3,
            "session_id": "s1",
            "service": "asr",
            "level": "info",
        }.items()
    )
    assert theirs["event"] == "from outside"
    assert theirs["service"] == "asr"
    assert ours["timestamp"].endswith("Z")


def test_a_failure_brings_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(LogConfig(format="json"), "asr")
    spoken = "a private sentence"
    try:
        raise ValueError(f"{len(spoken)} letters")
    except ValueError:
        structlog.get_logger("here").exception("failed")
    [line] = lines(capsys)
    assert "ValueError: 18 letters" in line["exception"]
    assert spoken not in json.dumps(line), "no values of variables"


def test_on_the_console_neither(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(LogConfig(format="console"), "asr")
    spoken = " ".join(["private", "sentence"])
    try:
        raise ValueError(f"{len(spoken)} letters")
    except ValueError:
        structlog.get_logger("here").exception("failed")
    text = capsys.readouterr().err
    assert "ValueError: 16 letters" in text
    assert spoken not in text


def test_the_level_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(LogConfig(format="json", level="warning"), "asr")
    structlog.get_logger("here").info("quiet")
    logging.getLogger("uvicorn.access").info("quiet")
    structlog.get_logger("here").warning("loud")
    assert [line["event"] for line in lines(capsys)] == ["loud"]


@pytest.mark.parametrize("wanted", [False, True])
def test_what_people_say_is_logged_only_where_it_is_wanted(
    capsys: pytest.CaptureFixture[str], wanted: bool
) -> None:
    configure_logs(LogConfig(format="json", content=wanted), "asr")
    log = structlog.get_logger("here")
    log.info("final", content="a private sentence")
    log.info("ended", code="invalid_message", quotes="field: (got 'a private sentence')")
    events = lines(capsys)
    assert [event["event"] for event in events] == (["final", "ended"] if wanted else ["ended"])
    assert events[-1]["code"] == "invalid_message"
    assert ("private" in json.dumps(events)) is wanted
