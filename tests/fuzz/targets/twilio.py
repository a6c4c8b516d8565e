"""What a media stream says, and requests that say they are Twilio's."""

from typing import Any

from examples.twilio.messages import Media, Message, Start, parse
from examples.twilio.signature import is_genuine, signature
from tests.fuzz.source import Source
from tests.fuzz.target import check
from tests.fuzz.values import json_text, text

_START = {
    "accountSid": "AC1",
    "streamSid": "MZ1",
    "callSid": "CA1",
    "tracks": ["inbound"],
    "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    "customParameters": {"token": "t"},
}
_MESSAGES: tuple[dict[str, Any], ...] = (
    {"event": "connected", "protocol": "Call", "version": "1.0.0"},
    {"event": "start", "sequenceNumber": "1", "start": _START, "streamSid": "MZ1"},
    {"event": "media", "media": {"track": "inbound", "chunk": "1", "payload": "//79"}},
    {"event": "mark", "mark": {"name": "7"}},
    {"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": "5"}},
    {"event": "stop", "stop": {"accountSid": "AC1", "callSid": "CA1"}},
)


def messages(source: Source) -> None:
    try:
        message = parse(json_text(source, source.choice(_MESSAGES)))
    except ValueError:
        return
    check(isinstance(message, Message), "no message")
    if isinstance(message, Start):
        check(type(message.start.callSid) is str, "a call without an id")
    if isinstance(message, Media):
        try:
            check(type(message.media.audio()) is bytes, "audio that is no bytes")
        except ValueError:
            return


def requests(source: Source) -> None:
    """A signature fits its own request, in any order, and no other."""
    form = [(_plain(source), _plain(source)) for _ in range(source.below(6))]
    url = "https://calls.example.com/twilio/voice" + source.choice(("", "?a=b", "?ü=%20"))
    signed = signature("token", url, form)
    check(is_genuine("token", url, reversed(form), signed), "our own signature is forged")
    other = _plain(source)
    check(other == signed or not is_genuine("token", url, form, other), "anything is genuine")
    more = [*form, (_plain(source), _plain(source))]
    same = "".join(n + v for n, v in sorted(set(more))) == "".join(
        n + v for n, v in sorted(set(form))
    )
    check(same or not is_genuine("token", url, more, signed), "a field was added unnoticed")


def _plain(source: Source) -> str:
    """As it comes out of a form: no half characters."""
    return text(source, 2).encode("utf-8", "replace").decode()
