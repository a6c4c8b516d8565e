"""What clients of the ASR service send: valid messages, and everything near them."""

from typing import Any

from services.asr.listening import check_audio
from services.asr.messages import Encoding, Start, TurnMode, client_codec
from services.shared.protocol.base import ProtocolError
from services.shared.protocol.codec import Codec, encode
from tests.fuzz.source import Source
from tests.fuzz.target import check
from tests.fuzz.values import json_text, text, value

_CODEC = client_codec()
_SENTENCE = 1000
"""Characters of an error's sentence: it shows what was sent, but not all of it."""


def start_fields(source: Source) -> dict[str, Any]:
    """A `start` that is mostly right."""
    wanted: dict[str, Any] = {"type": "start"}
    if source.one_in(2):
        wanted["encoding"] = source.choice([*Encoding])
    if source.one_in(2):
        wanted["sample_rate"] = source.choice((16_000, 8000, 48_000, 44_100, 22_050, 8001, 24_000))
    if source.one_in(3):
        wanted["channels"] = source.choice((1, 2))
    if source.one_in(4):
        wanted["language"] = source.choice(("en", "vi", "en-US", "xx", "EN"))
    if source.one_in(3):
        wanted["partials"] = source.one_in(2)
    if source.one_in(3):
        wanted["word_timestamps"] = True
    if source.one_in(6):
        wanted["prompt"] = text(source)
    if source.one_in(6):
        wanted["hotwords"] = [text(source, 1) for _ in range(source.below(4))]
    if source.one_in(2):
        wanted["turn"] = _turn(source)
    if source.one_in(8):
        wanted["resumable"] = source.one_in(2)
    return wanted


def _turn(source: Source) -> dict[str, Any]:
    turn: dict[str, Any] = {}
    if source.one_in(2):
        turn["mode"] = source.choice([*TurnMode])
    if source.one_in(3):
        turn["threshold"] = source.choice((0.5, 0.01, 0.99))
    if source.one_in(3):
        turn["silence_ms"] = source.choice((600, 100, 10_000))
    if source.one_in(3):
        turn["max_silence_ms"] = source.choice((2000, 200, 30_000))
    return turn


def message_text(source: Source, wrong_in: int = 2) -> str:
    """One text frame, which is wrong once in `wrong_in` times."""
    kind = source.below(8)
    if kind < 3:
        return json_text(source, start_fields(source), wrong_in)
    if kind < 5:
        return json_text(source, {"type": "flush"}, wrong_in)
    if kind == 5 or not source.one_in(wrong_in):
        return json_text(source, {"type": "stop"}, wrong_in)
    return json_text(source, {"type": text(source, 1), "a": value(source)})


def check_refusal(error: ProtocolError) -> None:
    """Its sentence can be sent, and is no echo of a megabyte."""
    check(0 < len(error.message) <= _SENTENCE, f"a sentence of {len(error.message)} characters")
    encode(error.to_message()).encode()


def check_parsing(codec: Codec[Any], written: str) -> Any:
    """A message, which survives the way there and back; or None, with a sentence that says why."""
    try:
        message = codec.decode(written)
    except ProtocolError as error:
        check_refusal(error)
        return None
    again = codec.decode(encode(message))
    check(again == message, f"{message!r} comes back as {again!r}")
    return message


def attempt(source: Source) -> None:
    message = check_parsing(_CODEC, message_text(source))
    if isinstance(message, Start):
        try:
            check_audio(message)
        except ProtocolError as error:
            check_refusal(error)
