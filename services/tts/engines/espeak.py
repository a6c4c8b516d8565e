"""The one owner of espeak-ng, whose state (the current voice) belongs to the whole process."""

import re
import threading
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from services.tts.engines.base import EngineUnavailable

_LOCK = threading.Lock()
"""espeak-ng is a C library with global state; whoever calls it holds this."""

_LANGUAGE_SWITCH = re.compile(r"\([^)]*\)")
"""espeak marks words of another language with flags such as (en)…(de)."""
_PAUSES = frozenset(",:;")
_BLOCK = re.compile(r"\[\[([^\[\]]*)\]\]")
"""Phonemes within the text; espeak itself has no marks for IPA."""
_POSSESSIVE = re.compile(r"['’]s\b")
_MARKS = re.compile(r"\W*")


@dataclass(frozen=True, slots=True)
class Clause:
    """What espeak reads in one breath."""

    phonemes: tuple[str, ...]
    """IPA code points, decomposed (NFD), punctuation and spaces included."""
    ends_sentence: bool


class Espeak:
    """Text to phonemes in one language."""

    def __init__(self, voice: str) -> None:
        """Raises EngineUnavailable when espeak is missing or lacks the voice."""
        self._voice = voice
        self._bridge = _open_bridge()
        # Words recur; the alignment asks for each of them alone.
        self.word = lru_cache(maxsize=4096)(self._word)
        try:
            self.clauses("a")
        except Exception as error:
            raise EngineUnavailable(f"espeak-ng has no voice {voice!r}: {error}") from error

    def clauses(self, text: str) -> list[Clause]:
        """Phonemes of `text`, clause by clause; clauses without a sound are left out.

        IPA between `[[` and `]]` is taken as it is.
        """
        plain, *blocks = _BLOCK.split(text)
        clauses = self._read(plain)
        for ipa, after in zip(blocks[::2], blocks[1::2], strict=True):
            spoken = unicodedata.normalize("NFD", ipa.strip())
            if _POSSESSIVE.match(after):
                spoken, after = f"{spoken}z", after[2:]
            clauses = _joined(clauses, plain, Clause(tuple(spoken), False))
            marks = _MARKS.match(after)
            begin = marks[0] if marks else ""
            clauses = _with_marks(clauses, begin)
            # espeak would say the name of a mark that stands alone at the beginning.
            if follow := self._read(after[len(begin) :]):
                clauses = [*_joined(clauses, begin, follow[0]), *follow[1:]]
            plain = after
        return clauses

    def _read(self, text: str) -> list[Clause]:
        # A C string ends at NUL, and lone surrogates have no UTF-8.
        clean = text.replace("\0", " ").encode(errors="replace").decode()
        with _LOCK:
            self._bridge.set_voice(self._voice)
            raw = self._bridge.get_phonemes(clean)
        clauses = []
        for phonemes, mark, ends_sentence in raw:
            spoken = _LANGUAGE_SWITCH.sub("", phonemes)
            pause = mark + " " if mark in _PAUSES else mark
            if spoken.strip():
                whole = unicodedata.normalize("NFD", spoken + pause)
                clauses.append(Clause(tuple(whole), bool(ends_sentence)))
            elif clauses and ends_sentence:
                clauses[-1] = Clause(clauses[-1].phonemes, True)
        return clauses

    def _word(self, word: str) -> tuple[str, ...]:
        """Phonemes of one word said alone."""
        return tuple(symbol for clause in self.clauses(word) for symbol in (*clause.phonemes, " "))


def _joined(clauses: list[Clause], before: str, more: Clause) -> list[Clause]:
    """`more` in one breath with the last clause, unless a mark at the end of `before` divides."""
    mark = before.rstrip()[-1:]
    if not clauses or mark and not mark.isalnum() and mark in ".!?,:;…":
        return [*clauses, more]
    last = clauses[-1]
    space = (" ",) if before[-1:].isspace() and last.phonemes[-1:] != (" ",) else ()
    return [*clauses[:-1], Clause((*last.phonemes, *space, *more.phonemes), more.ends_sentence)]


def _with_marks(clauses: list[Clause], marks: str) -> list[Clause]:
    """The last clause with the punctuation that follows it, which espeak drops at a beginning."""
    mark = next((char for char in marks if char in ".!?,:;…"), "")
    if not mark:
        return clauses
    last = clauses[-1]
    told = (mark, " ") if mark in _PAUSES else (mark,)
    return [*clauses[:-1], Clause((*last.phonemes, *told), mark not in _PAUSES)]


def _open_bridge() -> Any:
    try:
        from piper import espeakbridge
        from piper.phonemize_espeak import ESPEAK_DATA_DIR
    except ImportError as error:
        raise EngineUnavailable(
            "phonemes need piper-tts; install it with: uv sync --group piper (or kokoro)"
        ) from error
    with _LOCK:
        espeakbridge.initialize(str(ESPEAK_DATA_DIR))
    return espeakbridge
