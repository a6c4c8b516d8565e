"""Japanese for espeak-ng, which reads kana only: Open JTalk finds the readings of kanji.

pyopenjtalk-plus (MIT, 330 MB with its dictionaries) is installed by the dependency group
`japanese`; without it a text with kanji is refused, and kana is spoken all the same.
"""

import re
from collections.abc import Callable
from typing import Any

from services.shared.protocol.base import ErrorCode
from services.tts.engines.base import EngineError
from services.tts.engines.espeak import Clause, Espeak

_KANJI = re.compile("[\u3400-\u4dbf\u4e00-\u9fff々]")
_MARKS = "記号"
_ATTACHED = ("助詞", "助動詞")
"""Particles and endings are said in one go with the word before."""
_UNVOICED = "’"

ToKana = Callable[[str], str]


class JapaneseEspeak(Espeak):
    """Reads Japanese by way of kana.

    Args:
        to_kana: gives the reading of a text; None: kanji cannot be read here.
    """

    def __init__(self, to_kana: ToKana | None) -> None:
        self._to_kana = to_kana
        super().__init__("ja")

    def clauses(self, text: str) -> list[Clause]:
        """Phonemes of `text`, clause by clause.

        Raises:
            EngineError: kanji without a dictionary.
        """
        if self._to_kana is not None:
            text = self._to_kana(text)
        elif _KANJI.search(text):
            raise EngineError(
                "kanji cannot be read here; send kana, or install pyopenjtalk-plus with: "
                "uv sync --group japanese",
                code=ErrorCode.UNSUPPORTED_LANGUAGE,
            )
        return super().clauses(text)


def open_jtalk() -> ToKana | None:
    """Open JTalk's reader of kanji and numbers; None when it is not installed."""
    try:
        import pyopenjtalk
    except ImportError:
        return None
    return lambda text: spaced_kana(pyopenjtalk.run_frontend(text)) if text.strip() else text


def spaced_kana(words: list[dict[str, Any]]) -> str:
    """The readings of Open JTalk's words, with a space before each that begins a phrase."""
    parts: list[str] = []
    for word in words:
        if word["pos"] == _MARKS:
            parts.append(word["string"])
        else:
            phrase = bool(parts) and word["pos"] not in _ATTACHED
            parts.append(" " * phrase + word["pron"].replace(_UNVOICED, ""))
    return "".join(parts)
