"""Numbering, keeping and asking again."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.asr.event_log import EventLog
from services.asr.messages import SpeechStarted, TurnPending
from services.shared.protocol.base import Error, ErrorCode, ProtocolError


def numbers(texts: list[str]) -> list[int]:
    return [json.loads(text)["event"] for text in texts]


def test_events_are_numbered_from_one() -> None:
    log = EventLog(4096)
    assert (log.last, log.after(0)) == (0, [])
    first = log.append(SpeechStarted(start_ms=480))
    assert json.loads(first) == {"type": "speech_started", "start_ms": 480, "event": 1}
    error = ProtocolError(ErrorCode.ENGINE_FAILED, "sorry").to_message()
    assert Error.model_validate_json(log.append(error)).event == 2
    assert log.last == 2


def test_an_event_that_has_not_been_is_refused() -> None:
    log = EventLog(4096)
    log.append(SpeechStarted(start_ms=0))
    with pytest.raises(ProtocolError, match="2 is after the latest, 1") as caught:
        log.after(2)
    assert caught.value.code is ErrorCode.INVALID_MESSAGE


@given(
    texts=st.lists(st.text(max_size=300), max_size=60),
    known=st.integers(0, 60),
    limit=st.integers(50, 3000),
)
def test_all_that_was_missed_is_told_or_none(texts: list[str], known: int, limit: int) -> None:
    log = EventLog(limit)
    sent = [log.append(TurnPending(text=text)) for text in texts]
    known = min(known, len(sent))
    kept, room = 0, limit
    for text in reversed(sent):
        room -= len(text.encode())
        if room < 0:
            break
        kept += 1
    if len(sent) - known <= kept:
        missed = log.after(known)
        assert missed == sent[known:]
        assert numbers(missed) == list(range(known + 1, len(sent) + 1))
    else:
        with pytest.raises(ProtocolError) as caught:
            log.after(known)
        assert caught.value.code is ErrorCode.EVENTS_LOST
