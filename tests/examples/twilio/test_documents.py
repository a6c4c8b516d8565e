"""What Twilio is told, what it tells, and the sounds of keys."""

import json
from xml.etree.ElementTree import fromstring

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.asterisk_bridge.bench.measure import sound_spans, tone_level
from examples.twilio import messages, twiml
from examples.twilio.tones import key_tones


def test_names_and_sentences_are_escaped() -> None:
    said = fromstring(twiml.say_and_hang_up('<&> "sorry"', "en-US"))
    assert [child.tag for child in said] == ["Say", "Hangup"]
    assert said[0].text == '<&> "sorry"'
    assert fromstring(twiml.dial("+15550100")).findtext("Dial/Number") == "+15550100"
    assert fromstring(twiml.dial("sip:desk@example.com")).findtext("Dial/Sip") == (
        "sip:desk@example.com"
    )
    rejected = fromstring(twiml.reject()).find("Reject")
    assert rejected is not None and rejected.get("reason") == "busy"


def test_the_messages_of_twilios_documentation() -> None:
    start = messages.parse(
        '{"event":"start","sequenceNumber":"1","start":{"accountSid":"AC1","streamSid":"MZ1",'
        '"callSid":"CA1","tracks":["inbound"],"mediaFormat":{"encoding":"audio/x-mulaw",'
        '"sampleRate":8000,"channels":1},"customParameters":{"token":"t"}},"streamSid":"MZ1"}'
    )
    assert isinstance(start, messages.Start) and start.start.mediaFormat.is_ours
    assert (start.start.callSid, start.start.customParameters) == ("CA1", {"token": "t"})
    media = messages.parse(
        '{"event":"media","sequenceNumber":"3","media":{"track":"inbound","chunk":"1",'
        '"timestamp":"5","payload":"fn5+"},"streamSid":"MZ1"}'
    )
    assert isinstance(media, messages.Media) and media.media.audio() == b"~~~"
    mark = messages.parse(
        '{"event":"mark","sequenceNumber":"4","streamSid":"MZ1","mark":{"name":"7"}}'
    )
    assert isinstance(mark, messages.Mark) and mark.mark.name == "7"
    key = messages.parse(
        '{"event":"dtmf","streamSid":"MZ1","sequenceNumber":"5",'
        '"dtmf":{"track":"inbound_track","digit":"1"}}'
    )
    assert isinstance(key, messages.Dtmf) and key.dtmf.digit == "1"
    stop = '{"event":"stop","sequenceNumber":"6","stop":{"accountSid":"AC1","callSid":"CA1"}}'
    assert isinstance(messages.parse(stop), messages.Stop)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 9000,
        "{}",
        '{"event":"media"}',
        '{"event":"media","media":{"payload":7}}',
        '{"event":"dtmf","dtmf":{"digit":"12"}}',
        '{"event":"mark","mark":{}}',
        '{"event":"something new"}',
        '{"event":["start"]}',
    ],
    ids=lambda text: text[:30],
)
def test_what_is_no_message_is_told(text: str) -> None:
    with pytest.raises(ValueError):
        messages.parse(text)


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_no_text_is_worse_than_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        messages.parse(text)


def test_audio_that_is_no_base64_is_told() -> None:
    media = messages.parse('{"event":"media","media":{"payload":"not base64!"}}')
    assert isinstance(media, messages.Media)
    with pytest.raises(ValueError):
        media.media.audio()


@given(st.binary(max_size=400))
def test_what_we_play_is_what_twilio_would_read(audio: bytes) -> None:
    told = json.loads(messages.media("MZ1", audio))
    assert (told.pop("event"), told.pop("streamSid")) == ("media", "MZ1")
    again = messages.parse(json.dumps({"event": "media", **told}))
    assert isinstance(again, messages.Media) and again.media.audio() == audio


def test_keys_are_heard_as_two_tones_with_gaps() -> None:
    samples = messages.FORMAT.decode(key_tones(messages.FORMAT, "5#"))
    spans = sound_spans(samples, 8000, join_s=0.02)
    assert [round(end - begin, 2) for begin, end in spans] == [0.1, 0.1]
    for (begin, end), pair in zip(spans, ((770, 1336), (941, 1477)), strict=True):
        inner = samples[round((begin + 0.01) * 8000) : round((end - 0.01) * 8000)]
        levels = [tone_level(inner, 8000, hertz) for hertz in pair]
        assert all(level > 0.4 for level in levels) and np.ptp(levels) < 0.2
    with pytest.raises(ValueError, match="no key"):
        key_tones(messages.FORMAT, "12x")
