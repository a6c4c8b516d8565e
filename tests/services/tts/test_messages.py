"""The messages on the wire."""

import pytest

from services.shared.protocol.base import ErrorCode, ProtocolError
from services.shared.protocol.codec import encode
from services.tts.messages import (
    AudioFinished,
    Cancel,
    Cancelled,
    Flush,
    Start,
    Text,
    Words,
    client_codec,
    server_codec,
)


def test_a_start_has_sensible_defaults() -> None:
    assert client_codec().decode('{"type":"start"}') == Start()
    start = Start()
    assert (start.encoding, start.sample_rate, start.speed) == ("pcm_s16le", None, 1.0)
    assert not start.word_timestamps


def test_client_messages_are_told_apart() -> None:
    codec = client_codec()
    assert codec.decode('{"type":"text","text":" Hi","context_id":"a"}') == Text(
        text=" Hi", context_id="a"
    )
    assert codec.decode('{"type":"flush"}') == Flush()
    assert codec.decode('{"type":"cancel","context_id":"a"}') == Cancel(context_id="a")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"type":"start","rate":8000}', "rate"),
        ('{"type":"start","encoding":"mp3"}', "encoding"),
        ('{"type":"start","sample_rate":4000}', "sample_rate"),
        ('{"type":"start","speed":0}', "speed"),
        ('{"type":"start","speed":NaN}', "JSON"),
        ('{"type":"start","context_id":""}', "context_id"),
        ('{"type":"text"}', "text"),
        ('{"type":"text","text":5}', "text"),
        ('{"type":"speak","text":"x"}', "expected one of cancel, close, end, flush, start, text"),
    ],
)
def test_a_wrong_field_is_named(text: str, told: str) -> None:
    with pytest.raises(ProtocolError, match=told) as caught:
        client_codec().decode(text)
    assert caught.value.code in (ErrorCode.INVALID_MESSAGE, ErrorCode.INVALID_JSON)


@pytest.mark.parametrize(
    "message",
    [
        AudioFinished(context_id="a", audio_ms=0),
        AudioFinished(context_id="a", audio_ms=10, first_audio_ms=4),
        Cancelled(context_id="a", sent_ms=5, spoken_text="Xin chào"),
        Words(context_id="a", words=()),
    ],
)
def test_server_messages_survive_the_wire(message: AudioFinished | Cancelled | Words) -> None:
    assert server_codec().decode(encode(message)) == message
