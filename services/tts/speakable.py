"""What of a text is meant for the ear: markdown, emoji and invisible characters fall away."""

import re
import unicodedata

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
_EMPHASIS = re.compile(r"\*+(?=\S)|(?<=\S)\*+|(?<![^\W_])_+(?=\S)|(?<=\S)_+(?![^\W_])|~~|`+")
_EMOJI = re.compile(
    "[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\u231a-\u231b\u23e9-\u23fa\u20e3\ufe0e\ufe0f"
    "\u200d\U000e0020-\U000e007f]+"
)
_SPACES = re.compile(r"\s+")


def speakable(text: str) -> str:
    """Plain text for an engine: one line, composed (NFC), without markup and symbols for the eye.

    "**Hi** 😀, see [the docs](https://a.b)" → "Hi, see the docs". The words that stay are those of
    the text, in its order.
    """
    text = unicodedata.normalize("NFC", text)
    for pattern in (_FENCE, _RULE, _HEADING, _QUOTE, _BULLET, _TABLE_EDGE):
        text = pattern.sub("", text)
    text = _LINK.sub(r"\1", text)
    text = _AUTOLINK.sub(r"\1", text)
    text = _TAG.sub(" ", text)
    text = _TABLE_BAR.sub(", ", text)
    text = _EMPHASIS.sub("", text)
    text = _EMOJI.sub(" ", text)
    text = "".join(char for char in text if char.isspace() or unicodedata.category(char)[0] != "C")
    text = _SPACES.sub(" ", text).strip()
    return re.sub(r" (?=[,.;:!?](?:\s|$))", "", text)
