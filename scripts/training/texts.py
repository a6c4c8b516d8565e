"""What a clip says, as training and the TTS service both write it. Pure.

Training must see the text that the service will give the model: NFC, and said in words by the same
rules (`services/tts/wording.py`).
"""

import unicodedata

from services.tts.wording import Reader

_PUNCTUATION = ",.!?-:;/\"()[]{}'"
_SAME = str.maketrans(
    {
        **dict.fromkeys("“”„«»", '"'),
        **dict.fromkeys("‘’ʼ`´", "'"),
        **dict.fromkeys("–—−‐‑", "-"),
        "…": "...",
    }
)
_VOWELS = "aăâeêioôơuưy"
_TONES = ("", "\u0301", "\u0300", "\u0303", "\u0309", "\u0323")
LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzđ") | {
    unicodedata.normalize("NFC", vowel + tone) for vowel in _VOWELS for tone in _TONES
}
"""Small letters that NeMo's `VietnameseCharsTokenizer` knows; it makes others small itself."""
KNOWN = LETTERS | frozenset(_PUNCTUATION + " ")


class TrainingReader:
    """Makes `text` and `normalized_text` of a manifest."""

    def __init__(self, language: str = "vi") -> None:
        self._reader = Reader(language)

    def read(self, text: str) -> tuple[str, str]:
        """The text in one spelling (NFC, plain quotes and dashes), and how it is said."""
        written = plain(text)
        return written, plain(self._reader.read(written).text)


def plain(text: str) -> str:
    """NFC, with the punctuation that the tokenizer knows, and single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).translate(_SAME).split())


def unknown_characters(text: str) -> set[str]:
    """Characters that the tokenizer would leave out without a word."""
    return set(text.lower()) - KNOWN


def letters(text: str) -> int:
    """How many letters there are: what the speech rate is counted in."""
    return sum(char.isalpha() for char in text)
