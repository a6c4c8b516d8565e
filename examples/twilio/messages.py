"""The messages of a media stream, both ways. Pure.

https://www.twilio.com/docs/voice/media-streams/websocket-messages: JSON as text, audio as base64 of
µ-law at 8 kHz, without headers. What Twilio adds to its messages is ignored.
"""

import base64
import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from services.shared.audio.pcm import AudioFormat, Encoding

FORMAT = AudioFormat(Encoding.MULAW, 8000)
SILENCE = b"\xff"
"""One sample of it."""
_TOLD = 100
"""Letters of what is wrong with a message: it may repeat what a stranger sent."""


class _Lenient(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class MediaFormat(_Lenient):
    encoding: str
    sampleRate: int
    channels: int

    @property
    def is_ours(self) -> bool:
        return (self.encoding, self.sampleRate, self.channels) == ("audio/x-mulaw", 8000, 1)


class StreamStart(_Lenient):
    streamSid: str
    callSid: str
    accountSid: str = ""
    mediaFormat: MediaFormat
    customParameters: dict[str, str] = Field(default_factory=dict)


class Connected(_Lenient):
    """First: there is a connection."""

    event: Literal["connected"]


class Start(_Lenient):
    """Second, once: whose stream this is."""

    event: Literal["start"]
    start: StreamStart


class MediaChunk(_Lenient):
    track: str = "inbound"
    payload: str

    def audio(self) -> bytes:
        """Raises ValueError: no base64."""
        return base64.b64decode(self.payload, validate=True)


class Media(_Lenient):
    """20 ms of the caller."""

    event: Literal["media"]
    media: MediaChunk


class MarkName(_Lenient):
    name: str


class Mark(_Lenient):
    """All audio before a mark of ours was played, or thrown away by a `clear`."""

    event: Literal["mark"]
    mark: MarkName


class Key(_Lenient):
    digit: Annotated[str, Field(pattern=r"^[0-9A-D*#]$")]


class Dtmf(_Lenient):
    event: Literal["dtmf"]
    dtmf: Key


class Stop(_Lenient):
    """Last: the caller has hung up, or the stream was ended."""

    event: Literal["stop"]


Message = Connected | Start | Media | Mark | Dtmf | Stop

_MESSAGES: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="event")])


def parse(text: str) -> Message:
    """
    Raises:
        ValueError: it is none of these.
    """
    try:
        return _MESSAGES.validate_json(text)
    except ValidationError as error:
        told = error.errors(include_url=False, include_input=False)[0]
        why = f"{'.'.join(map(str, told['loc']))}: {told['msg']}"
        raise ValueError(why[:_TOLD]) from None


def media(stream_sid: str, audio: bytes) -> str:
    """Play this after what was sent before."""
    payload = base64.b64encode(audio).decode()
    return _encode({"event": "media", "streamSid": stream_sid, "media": {"payload": payload}})


def mark(stream_sid: str, name: str) -> str:
    """Tell us when all that was sent before has been played."""
    return _encode({"event": "mark", "streamSid": stream_sid, "mark": {"name": name}})


def clear(stream_sid: str) -> str:
    """Forget what has not been played; its marks come back at once."""
    return _encode({"event": "clear", "streamSid": stream_sid})


def _encode(message: dict[str, object]) -> str:
    return json.dumps(message, separators=(",", ":"))
