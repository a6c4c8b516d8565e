"""Events that we know are typed, others pass, and what is none is refused."""

import json

import pytest

from examples.asterisk_bridge.ari_events import (
    ChannelDtmfReceived,
    Event,
    StasisStart,
    parse_event,
)

CHANNEL = {
    "id": "1700000000.1",
    "name": "PJSIP/trunk-00000001",
    "state": "Ring",
    "caller": {"name": "", "number": "4912345"},
    "dialplan": {"exten": "1000", "app_name": "Stasis", "app_data": "va,1000", "new": 1},
    "a_field_of_tomorrow": [],
}


def test_a_caller_comes() -> None:
    event = parse_event(json.dumps({"type": "StasisStart", "args": ["1000"], "channel": CHANNEL}))
    assert isinstance(event, StasisStart)
    assert (event.channel_id, event.args) == ("1700000000.1", ("1000",))
    assert event.channel.caller.number == "4912345"
    assert event.channel.is_with("va") and not event.channel.is_with("v")


def test_a_key() -> None:
    event = parse_event(
        json.dumps(
            {"type": "ChannelDtmfReceived", "digit": "#", "duration_ms": 90, "channel": CHANNEL}
        )
    )
    assert isinstance(event, ChannelDtmfReceived)
    assert (event.digit, event.duration_ms) == ("#", 90)


def test_unknown_and_broken_events_pass_as_events() -> None:
    unknown = parse_event('{"type": "SomethingNew", "channel": 7}')
    broken = parse_event('{"type": "StasisStart", "channel": null}')
    assert type(unknown) is Event and unknown.channel_id is None
    assert type(broken) is Event


@pytest.mark.parametrize("data", ["", "[]", "{}", "hello", '{"type": 7}'])
def test_what_is_no_event_is_refused(data: str) -> None:
    with pytest.raises(ValueError):
        parse_event(data)
