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
        """Phonemes of `text`, clause by clause; clauses without a sound are left out."""
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


def _open_bridge() -> Any:
    try:
        from piper import espeakbridge
        from piper.phonemize_espeak import ESPEAK_DATA_DIR
    except ImportError as error:
        raise EngineUnavailable(
            "the piper engine needs piper-tts; install it with: uv sync --group piper"
        ) from error
    with _LOCK:
        espeakbridge.initialize(str(ESPEAK_DATA_DIR))
    return espeakbridge
