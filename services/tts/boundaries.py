"""Where sentences and clauses end in running text, and where to divide what does not end.

Pure functions of a window of text that begins where the segment begins. A place is decided by at
most LOOK_AHEAD characters after it; while they are not there, the answer is "wait".
"""

import re
import unicodedata
from enum import Enum
from itertools import islice

from services.tts.abbreviations import NEVER_FINAL, SOMETIMES_FINAL

LOOK_AHEAD = 48
CLAUSE_WORDS = 3
"""Words that a clause needs to be spoken on its own."""

_MAX_MARKS = 16
_MAX_SPACES = 16
_MAX_LIST_DIGITS = 3
_MAX_TOKEN = 48
"""Characters before a period that are looked at; no abbreviation is longer."""
_TERMINATORS = ".!?…。！？｡।॥؟۔"
_WIDE_TERMINATORS = "。！？｡"
_WIDE_CLAUSE_MARKS = "，、；："
_CLAUSE_MARKS = ",;:،؛"
_CLOSERS = "\"'”’»›)]}*_`」』】）》"
_QUOTES = frozenset("\"'”’»›」』")
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff"
"""Scripts in which a character counts as a word."""
_WITHIN_WORDS = "'’\u0300-\u036f\u0900-\u0963\u0966-\u0dff"
"""Apostrophes, combining accents, vowel signs of India."""
_RUN_ON = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
"""Thai, Lao, Burmese, Khmer: without spaces between words, which have about six characters."""

_CANDIDATE = re.compile(rf"[{_TERMINATORS}]|\n|[{_CLAUSE_MARKS}{_WIDE_CLAUSE_MARKS}—]|(?<=\s)[-–]")
_MARKS = re.compile(rf"[{_TERMINATORS}]{{1,{_MAX_MARKS}}}")
_CLOSER_RUN = re.compile(rf"[{re.escape(_CLOSERS)}]{{0,8}}")
_SPACES = re.compile(rf"\s{{0,{_MAX_SPACES}}}")
_TOKEN_BREAK = re.compile(r"[\s\"'“‘«(\[{*_`]")
_ACRONYM = re.compile(r"[^\W\d_](?:\.[^\W\d_])+")
_LINE_BEGIN = re.compile(r"[ \t]{0,16}(?:[-*•+]\s|#{1,6}\s|\d{1,3}[.)]\s|[>|\n])")
_LINE_BEGIN_OPEN = re.compile(r"[ \t]{0,16}(?:[-*•+]|#{1,6}|\d{1,3}[.)]?)?$")
_WORD = re.compile(
    rf"[{_UNSPACED}]|[{_RUN_ON}]{{1,6}}"
    rf"|[^\W_{_UNSPACED}{_RUN_ON}](?:[^\W_{_UNSPACED}{_RUN_ON}]|[{_WITHIN_WORDS}])*"
)
_CLAUSE_END = re.compile(rf"[{_CLAUSE_MARKS}—)”](?=\s)|[{_WIDE_CLAUSE_MARKS}]")


class _Verdict(Enum):
    NOT_HERE = "not here"
    WAIT = "wait"
    """Not enough text yet to tell."""


Verdict = int | _Verdict
"""Where the segment ends (characters of the window), or why it does not."""
NOT_HERE, WAIT = _Verdict.NOT_HERE, _Verdict.WAIT


def count_words(text: str) -> int:
    return sum(1 for _ in _WORD.finditer(text))


def find_end(
    window: str, *, clauses: bool, complete: bool, begin: int = 0
) -> tuple[int | None, int]:
    """The first certain end of a sentence in `window`.

    Args:
        window: text from the segment's first character on.
        clauses: an end of a clause of at least three words will do, too.
        complete: nothing follows the window.
        begin: where to look first; no end is before it.

    Returns:
        Characters of the window that the segment takes, None while no end is certain; and where to
        look first when there is more text.
    """
    words = _first_words(window)
    for found in _CANDIDATE.finditer(window, begin):
        verdict = _judge(window, found.start(), clauses, words)
        if isinstance(verdict, int):
            return verdict, begin
        if verdict is WAIT and not complete:
            return None, found.start()
    return None, len(window)


def ends_open_sentence(text: str) -> bool:
    """Whether `text` ends like a sentence, though what follows might still deny it."""
    stripped = text.rstrip().rstrip(_CLOSERS)
    end = len(stripped)
    while end and stripped[end - 1] in _TERMINATORS:
        end -= 1
    if end == len(stripped):
        return False
    window = stripped + " A"
    return isinstance(_judge_terminator(window, end, _first_words(window)), int)


def best_split(window: str, limit: int) -> int:
    """Where to divide text that has no end within `limit` characters (there are more)."""
    head = window[:limit]
    clause_ends = [found.end() for found in _CLAUSE_END.finditer(head) if found.end() > limit // 2]
    if clause_ends:
        return clause_ends[-1]
    begin = len(head) - len(head.lstrip())
    spaces = [at for at, char in enumerate(head) if at > begin and char.isspace()]
    if spaces:
        return spaces[-1]
    cut = limit
    while cut > max(1, limit - 8) and _joins(window[cut - 1], window[cut]):
        cut -= 1
    return cut


_JOINING = frozenset("\u200d\u0e33\u0eb3\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff")
"""Belong to the character before them: joiner, Thai and Lao AM, skin tones."""


def _joins(before: str, after: str) -> bool:
    """Whether both belong to one visible character."""
    return unicodedata.category(after)[0] == "M" or after in _JOINING or before == "\u200d"


def _first_words(window: str) -> tuple[int, ...]:
    """Where the first words begin; only the first few ever matter, so they are found once."""
    return tuple(found.start() for found in islice(_WORD.finditer(window), CLAUSE_WORDS))


def _has_words(words: tuple[int, ...], at: int, least: int = 1) -> bool:
    """Whether at least so many words begin before `at`."""
    return len(words) >= least and words[least - 1] < at


def _judge(window: str, at: int, clauses: bool, words: tuple[int, ...]) -> Verdict:
    mark = window[at]
    if mark == "\n":
        return _judge_newline(window, at, words)
    if mark in _TERMINATORS:
        return _judge_terminator(window, at, words)
    return _judge_clause(window, at, words) if clauses else NOT_HERE


def _judge_terminator(window: str, at: int, words: tuple[int, ...]) -> Verdict:
    if at and window[at - 1] in _TERMINATORS:
        return NOT_HERE  # judged with the first of its run
    end = _end(_MARKS, window, at)
    closed = _end(_CLOSER_RUN, window, end)
    if closed == len(window):
        return WAIT
    if not _has_words(words, at):
        return NOT_HERE
    if window[end - 1] in _WIDE_TERMINATORS:
        return closed
    if not window[closed].isspace():
        return NOT_HERE
    following = _following(window, closed)
    marks = window[at:end]
    if marks == ".":
        return _judge_period(window[:at], following, closed)
    spoken_on = marks[0] == "…" or marks.startswith("..") or _QUOTES & set(window[end:closed])
    return _unless(spoken_on and _continues, following, closed)


def _judge_period(before: str, following: str, cut: int) -> Verdict:
    """One period after `before`; `following` is the next visible character, "" if unknown."""
    token = _TOKEN_BREAK.split(before[-_MAX_TOKEN:])[-1]
    low = token.lower()
    initial = len(token) == 1 and token.isupper() and token != "I"
    acronym = _ACRONYM.fullmatch(token) and token.isupper()
    if low in NEVER_FINAL or initial or acronym or _is_list_number(before):
        return NOT_HERE
    if low == "no":
        return _unless(str.isdigit, following, cut)
    if low in SOMETIMES_FINAL or _ACRONYM.fullmatch(token):
        return _unless(_goes_on_after_abbreviation, following, cut)
    return cut


def _is_list_number(before: str) -> bool:
    line = before[before.rfind("\n") + 1 :].lstrip()
    return len(line) <= _MAX_LIST_DIGITS and line.isdecimal()


def _unless(continues: object, following: str, cut: int) -> Verdict:
    """`cut`, unless the next visible character shows that the sentence goes on."""
    if not callable(continues):
        return cut
    if not following:
        return WAIT
    return NOT_HERE if continues(following) else cut


def _continues(following: str) -> bool:
    return following.islower()


def _goes_on_after_abbreviation(following: str) -> bool:
    return following.islower() or following.isdigit() or following in ",;:)-–—&"


def _following(window: str, at: int) -> str:
    """The next visible character; "" while unknown, a line end after too many spaces."""
    end = _end(_SPACES, window, at)
    if end - at >= _MAX_SPACES:
        return "\n"
    return window[end : end + 1]


def _judge_newline(window: str, at: int, words: tuple[int, ...]) -> Verdict:
    """A blank line, a list item, a heading or a table row begins something new."""
    if not _has_words(words, at):
        return NOT_HERE
    rest = window[at + 1 : at + LOOK_AHEAD]
    line = window[window.rfind("\n", 0, at) + 1 : at]
    if _LINE_BEGIN.match(rest) or _LINE_BEGIN.match(line + " "):
        return at
    return WAIT if at + 1 + len(rest) == len(window) and _LINE_BEGIN_OPEN.match(rest) else NOT_HERE


def _judge_clause(window: str, at: int, words: tuple[int, ...]) -> Verdict:
    if not _has_words(words, at, CLAUSE_WORDS):
        return NOT_HERE
    if window[at] in _WIDE_CLAUSE_MARKS or window[at] == "—":
        return at + 1
    closed = _end(_CLOSER_RUN, window, at + 1)
    if closed == len(window):
        return WAIT
    return closed if window[closed].isspace() else NOT_HERE


def _end(pattern: re.Pattern[str], window: str, at: int) -> int:
    found = pattern.match(window, at)
    return found.end() if found else at
