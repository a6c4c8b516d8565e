"""Words with times → subtitles. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.asr.messages import Word
from services.asr.transcript import Transcript

LINE = 42
"""Characters of a line: what viewers are used to (EBU-TT-D, broadcasters' guidelines)."""
CUE_CHARACTERS = 2 * LINE
CUE_MS = 6000
PAUSE_MS = 700
"""A longer silence ends a cue."""


@dataclass(frozen=True, slots=True)
class Cue:
    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


def cues(words: Iterable[Word]) -> list[Cue]:
    """Group words into cues: at most two lines and six seconds, ending at sentences and pauses."""
    groups: list[list[Word]] = []
    for word in words:
        if groups and _fits(groups[-1], word):
            groups[-1].append(word)
        else:
            groups.append([word])
    return _without_overlap([_cue(group) for group in groups])


def words_of(transcript: Transcript) -> list[Word]:
    """All words; a segment without word times counts as one word."""
    words: list[Word] = []
    for segment in transcript.segments:
        whole = Word(
            word=segment.text, start_ms=segment.start_ms, end_ms=segment.end_ms, confidence=1.0
        )
        words += segment.words or (whole,)
    return words


def srt(found: Sequence[Cue]) -> str:
    """SubRip."""
    blocks = [
        f"{number}\n{_time(cue.start_ms, ',')} --> {_time(cue.end_ms, ',')}\n"
        + "\n".join(cue.lines)
        for number, cue in enumerate(found, 1)
    ]
    return "\n\n".join(blocks) + "\n" if blocks else ""


def vtt(found: Sequence[Cue]) -> str:
    """WebVTT (W3C)."""
    blocks = [
        f"{_time(cue.start_ms, '.')} --> {_time(cue.end_ms, '.')}\n"
        + "\n".join(_escaped(line) for line in cue.lines)
        for cue in found
    ]
    return "\n\n".join(["WEBVTT", *blocks]) + "\n"


def _fits(group: Sequence[Word], word: Word) -> bool:
    last = group[-1]
    text = " ".join(each.word for each in [*group, word])
    sentence_over = last.word.endswith((".", "?", "!", "。", "？", "！"))
    return (
        not sentence_over
        and word.start_ms - last.end_ms <= PAUSE_MS
        and word.end_ms - group[0].start_ms <= CUE_MS
        and len(text) <= CUE_CHARACTERS
        and len(_broken(text)) <= 2
    )


def _cue(group: Sequence[Word]) -> Cue:
    text = " ".join(word.word for word in group)
    end = max(max(word.end_ms for word in group), group[0].start_ms + 1)
    return Cue(group[0].start_ms, end, tuple(_broken(text)))


def _broken(text: str) -> list[str]:
    """Lines of at most LINE characters; a longer word has a line of its own."""
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= LINE:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _without_overlap(found: list[Cue]) -> list[Cue]:
    """Word times may touch or cross at the seams of a long recording."""
    ordered: list[Cue] = []
    for cue in found:
        start = max(cue.start_ms, ordered[-1].end_ms if ordered else 0)
        ordered.append(Cue(start, max(cue.end_ms, start + 1), cue.lines))
    return ordered


def _time(ms: int, mark: str) -> str:
    seconds, milli = divmod(ms, 1000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02}:{minute:02}:{second:02}{mark}{milli:03}"


def _escaped(line: str) -> str:
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
