"""What Asterisk tells: ARI's events, RTP packets, the media socket's JSON, G.711."""

import json
from functools import cache
from typing import Any

import numpy as np

from examples.asterisk_bridge.ari_events import Event, parse_event
from examples.asterisk_bridge.config import MediaConfig
from examples.asterisk_bridge.media.jitter import JitterBuffer
from examples.asterisk_bridge.media.rtp_packets import RtpPacket, parse
from examples.asterisk_bridge.media.websocket import WebSocketMedia
from services.shared.audio.input import PcmInput
from services.shared.audio.pcm import AudioFormat, Encoding
from tests.fuzz.source import Source
from tests.fuzz.target import check
from tests.fuzz.values import json_text, mutated, value

_CHANNEL = {
    "id": "1",
    "name": "PJSIP/a-1",
    "state": "Up",
    "caller": {"name": "A", "number": "1"},
    "dialplan": {"context": "c", "exten": "s", "priority": 1, "app_name": "Stasis"},
    "channelvars": {"X": "1"},
}
_EVENTS: tuple[dict[str, Any], ...] = (
    {"type": "StasisStart", "application": "voice", "args": ["a"], "channel": _CHANNEL},
    {"type": "StasisEnd", "application": "voice", "channel": _CHANNEL},
    {"type": "ChannelDtmfReceived", "digit": "5", "duration_ms": 80, "channel": _CHANNEL},
    {"type": "ChannelHangupRequest", "cause": 16, "channel": _CHANNEL},
    {"type": "ApplicationReplaced", "application": "voice"},
    {"type": "ChannelVarset", "variable": "x", "value": "y"},
)
_MEDIA: tuple[dict[str, Any], ...] = (
    {"event": "MEDIA_START", "optimal_frame_size": 160},
    {"event": "STATUS", "queue_length": 5},
    {"event": "MEDIA_MARK_PROCESSED", "correlation_id": "1"},
    {"event": "MEDIA_XOFF"},
    {"event": "MEDIA_XON"},
    {"event": "ERROR", "error_text": "no"},
)


def ari_events(source: Source) -> None:
    fields = dict(source.choice(_EVENTS))
    if source.one_in(2):
        fields["channel"] = mutated(source, dict(_CHANNEL))
    data: str | bytes = json_text(source, fields)
    if source.one_in(8):
        data = source.take(60)
    try:
        event = parse_event(data)
    except ValueError:
        return
    check(isinstance(event, Event), "not an event")
    check(event.channel_id is None or type(event.channel_id) is str, "an id that is no text")


def rtp(source: Source) -> None:
    """Datagrams in any order: at most one payload for each, and silence for what is missing."""
    buffer, now, pushed, given = JitterBuffer(0.06, bytes(160)), 0.0, 0, 0
    base = source.below(1 << 16)
    for _ in range(source.below(60)):
        data = RtpPacket(
            0, (base + source.below(8)) & 0xFFFF, 0, source.below(2), bytes(20)
        ).encode()
        kind = source.below(8)
        if kind == 6:
            data = source.take(40)
        elif kind == 7:  # flags, extension, padding
            data = bytes([0x80 | source.below(64)]) + data[1:] + source.take(12)
        elif kind == 5:
            base = source.below(1 << 16)
        else:
            base = (base + 1) & 0xFFFF
        try:
            packet = parse(data)
        except ValueError:
            continue
        check(len(packet.payload) <= len(data), "more payload than packet")
        pushed += 1
        given += len(buffer.push(packet, now))
        now += source.choice((0.0, 0.02, 0.1))
        given += len([each for each in buffer.due(now) if each != bytes(160)])
    check(given <= pushed, "payloads out of nothing")


@cache
def _media() -> WebSocketMedia:
    return WebSocketMedia(MediaConfig(), "http://127.0.0.1:1", lambda event: None)


def media_events(source: Source) -> None:
    """Whatever the media socket says, the reader of a call's audio goes on."""
    fields = dict(source.choice(_MEDIA))
    if source.one_in(2):
        fields = mutated(source, fields)
    written = json_text(source, fields)
    if source.one_in(8):
        written = json.dumps(value(source))
    _media()._told(written)


def g711(source: Source) -> None:
    """Any bytes in any pieces give samples that can be encoded again."""
    encoding = source.choice([*Encoding])
    rate = source.choice((8000, 16_000, 11_025, 48_000))
    channels = source.choice((1, 2))
    wire = AudioFormat(encoding, rate, channels)
    ears, samples = PcmInput(wire), []
    for _ in range(source.below(12)):
        samples.append(ears.push(source.take(source.below(80)) * source.choice((1, 7))))
    tail, _ = ears.flush()
    joined = np.concatenate([*samples, tail])
    check(bool(np.isfinite(joined).all()), "samples that are no numbers")
    check(len(wire.encode(joined)) == len(joined) * wire.frame_bytes, "lost while encoding")
