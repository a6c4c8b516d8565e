"""What clients of the TTS service send: valid messages, and everything near them."""

from typing import Any

from services.tts.messages import CacheUse, Encoding, client_codec
from tests.fuzz.source import Source
from tests.fuzz.targets.asr_messages import check_parsing
from tests.fuzz.values import json_text, text, value

_CODEC = client_codec()
_CONTEXTS = ("a", "b", "c", "a", "context-1", "x" * 64)
_ADDRESSED = ("text", "text", "text", "flush", "end", "cancel")
_LEXICON = (("Nguyen", "win"), ("SQL", "/ˈsiːkwəl/"), ("C++", "see plus plus"), ("", ""))


def start_fields(source: Source) -> dict[str, Any]:
    """A `start` that is mostly right."""
    wanted: dict[str, Any] = {"type": "start"}
    if source.one_in(2):
        wanted["context_id"] = source.choice(_CONTEXTS)
    if source.one_in(3):
        wanted["voice"] = source.choice(("fake-en", "fake-vi", "fake-en", "nobody"))
    if source.one_in(4):
        wanted["language"] = source.choice(("en", "vi", "en-US", "de", "xx-yy"))
    if source.one_in(3):
        wanted["encoding"] = source.choice([*Encoding])
    if source.one_in(3):
        wanted["sample_rate"] = source.choice((8000, 16_000, 48_000, 44_100, 8001))
    if source.one_in(3):
        wanted["speed"] = source.choice((0.25, 1.0, 4.0, 1.37))
    if source.one_in(2):
        wanted["word_timestamps"] = True
    if source.one_in(6):
        wanted["interrupt"] = True
    if source.one_in(3):
        wanted["pacing"] = {"lead_ms": source.choice((20, 200, 10_000))}
    if source.one_in(4):
        wanted["cache"] = source.choice([*CacheUse])
    if source.one_in(4):
        wanted["normalise"] = False
    if source.one_in(4):
        wanted["lexicon"] = dict([source.choice(_LEXICON), (text(source, 1), text(source, 1))])
    return wanted


def addressed_fields(source: Source) -> dict[str, Any]:
    """A message for a context."""
    wanted: dict[str, Any] = {"type": source.choice(_ADDRESSED)}
    if wanted["type"] == "text":
        wanted["text"] = text(source)
    if source.one_in(2):
        wanted["context_id"] = source.choice(_CONTEXTS)
    return wanted


def message_text(source: Source, wrong_in: int = 2) -> str:
    """One text frame, which is wrong once in `wrong_in` times."""
    kind = source.below(16)
    if kind < 4:
        return json_text(source, start_fields(source), wrong_in)
    if kind < 13:
        return json_text(source, addressed_fields(source), wrong_in)
    if kind < 15 and source.one_in(wrong_in):
        return json_text(source, {"type": text(source, 1), "a": value(source)})
    if source.one_in(4):
        return json_text(source, {"type": "close"}, wrong_in)
    return json_text(source, {"type": "flush"}, wrong_in)


def attempt(source: Source) -> None:
    check_parsing(_CODEC, message_text(source))
