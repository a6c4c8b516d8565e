"""What of a text is meant for the ear: markdown, emoji and invisible characters fall away."""

import re

from services.tts.traced import Keep, TracedText

_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[^\n]*$", re.MULTILINE)
_RULE = re.compile(
    r"^[ \t]*(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|[|:\- ]{5,})$", re.MULTILINE
)
_HEADING = re.compile(r"^[ \t]*#{1,6}[ \t]+", re.MULTILINE)
_QUOTE = re.compile(r"^[ \t]*>[ \t]?", re.MULTILINE)
_BULLET = re.compile(r"^[ \t]*[-*•+][ \t]+(?:\[[ xX]\][ \t]+)?", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\[\]\n]*)\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+\"[^\"\n]*\")?\)")
_AUTOLINK = re.compile(r"<((?:https?://|mailto:)[^<>\s]+)>")
_TAG = re.compile(r"</?[A-Za-z][A-Za-z0-9]*(?:\s[^<>\n]*)?/?>")
_TABLE_EDGE = re.compile(r"^[ \t]*\||\|[ \t]*$", re.MULTILINE)
_TABLE_BAR = re.compile(r"[ \t]+\|[ \t]+")
_EMPHASIS = re.compile(
    r"(?<![\d*])\*+(?=\S)|(?<=\S)\*+(?![\d*])|(?<![^\W_])_+(?=\S)|(?<=\S)_+(?![^\W_])|~~|`+"
)
_EMOJI = re.compile(
    "[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\u231a-\u231b\u23e9-\u23fa\u20e3\ufe0e\ufe0f"
    "\u200d\U000e0020-\U000e007f]+"
)
_SPACES = re.compile(r"\s+")
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u180e\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\ud800-\uf8ff\ufeff\ufff9-\uffff\U000e0000-\U0010ffff]+"
)
_DOUBLE_BRACKET = re.compile(r"\[(?=\[)|\](?=\])")
"""Engines know them as the marks of phonemes."""
_LONE_SPACE = re.compile(r" (?=[,.;:!?](?:\s|$))")
_STEPS: tuple[tuple[re.Pattern[str], Keep], ...] = (
    *((pattern, "") for pattern in (_FENCE, _RULE, _HEADING, _QUOTE, _BULLET, _TABLE_EDGE)),
    (_LINK, 1),
    (_AUTOLINK, 1),
    (_TAG, " "),
    (_TABLE_BAR, ", "),
    (_EMPHASIS, ""),
    (_EMOJI, " "),
    (_INVISIBLE, ""),
    (_DOUBLE_BRACKET, ""),
    (_SPACES, " "),
)


def speakable(text: str) -> TracedText:
    """Plain text for the ear: one line, composed (NFC), without markup and symbols for the eye.

    "**Hi** 😀, see [the docs](https://a.b)" → "Hi, see the docs". The words that stay are those of
    the text, in its order, and know where they stood in it.
    """
    traced = TracedText(text).composed()
    for pattern, keep in _STEPS:
        traced = traced.sub(pattern, keep)
    return traced.stripped().sub(_LONE_SPACE, "")
