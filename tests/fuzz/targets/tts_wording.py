"""How text is cut and said, in every language: nothing fails or is lost, and nothing takes long."""

from services.tts.lexicon import Lexicon, LexiconError
from services.tts.segmentation import Segment, Segmenter
from services.tts.wording import Reader
from tests.fuzz.source import Source
from tests.fuzz.target import check
from tests.fuzz.values import text

_LANGUAGES = ("en-US", "vi-VN", "en-GB", "de-DE", "hi", "")
_MOST = 1000


def attempt(source: Source) -> None:
    written = text(source, 30)
    most = source.choice((280, 30, 2))
    segments = _segments(source, written, most)
    check("".join(segment.text for segment in segments) == written, "cutting changed the text")
    check(all(len(segment.text) <= most for segment in segments), "a segment is too long")
    reader = Reader(
        source.choice(_LANGUAGES),
        normalise=not source.one_in(4),
        lexicons=_lexicons(source),
        phonemes=source.one_in(2),
    )
    for segment in segments:
        _read(reader, segment)


def _segments(source: Source, written: str, most: int) -> list[Segment]:
    cutter, segments, at = Segmenter(max_characters=most), [], 0
    while at < len(written):
        size = 1 + source.below(200)
        segments += cutter.push(written[at : at + size])
        if source.one_in(8):
            segments += cutter.on_idle()
        at += size
    return segments + cutter.flush()


def _lexicons(source: Source) -> list[Lexicon]:
    try:
        return [Lexicon({text(source, 1): text(source, 1) for _ in range(source.below(3))})]
    except LexiconError:
        return []


def _read(reader: Reader, segment: Segment) -> None:
    parts = reader.read_segment(segment, _MOST)
    check("".join(part.text for part, _ in parts) == segment.text, "reading changed the text")
    for part, wording in parts:
        check(len(wording.text) <= _MOST, f"{len(wording.text)} characters for an engine")
        said = [word.written for word in wording.words] or wording.text.split()
        check(wording.source_end(said) <= len(part.text), "more heard than was written")
