"""Text that knows where it came from, through any number of replacements. Pure."""

import re
import unicodedata
from itertools import pairwise

Keep = int | str
"""What takes the place of a match: one of its groups, or a text of its own."""


class TracedText:
    """A text made from a source text.

    Attributes:
        text: as it is now.
        ends: for each of its characters, how much of the source had been read with it.
    """

    __slots__ = ("ends", "text")

    def __init__(self, source: str) -> None:
        self.text = source
        self.ends = list(range(1, len(source) + 1))

    def composed(self) -> "TracedText":
        """In Unicode's composed form (NFC)."""
        if unicodedata.is_normalized("NFC", self.text):
            return self
        parts: list[str] = []
        ends: list[int] = []
        for start, end in pairwise(_cluster_bounds(self.text)):
            part = unicodedata.normalize("NFC", self.text[start:end])
            parts.append(part)
            ends += [self.ends[end - 1]] * len(part)
        return self._become("".join(parts), ends)

    def sub(self, pattern: re.Pattern[str], keep: Keep) -> "TracedText":
        """Replace every match of `pattern`."""
        parts: list[str] = []
        ends: list[int] = []
        at = 0
        for found in pattern.finditer(self.text):
            start, end = found.span()
            parts.append(self.text[at:start])
            ends += self.ends[at:start]
            if isinstance(keep, int):
                first, last = found.span(keep)
                parts.append(self.text[first:last])
                ends += self.ends[first:last]
            elif end > start:
                parts.append(keep)
                ends += [self.ends[end - 1]] * len(keep)
            at = end
        if not at:
            return self
        return self._become("".join(parts) + self.text[at:], ends + self.ends[at:])

    def stripped(self) -> "TracedText":
        """Without white space around it."""
        begin = len(self.text) - len(self.text.lstrip())
        text = self.text.strip()
        return self._become(text, self.ends[begin : begin + len(text)])

    def _become(self, text: str, ends: list[int]) -> "TracedText":
        new = TracedText("")
        new.text, new.ends = text, ends
        return new


def _cluster_bounds(text: str) -> list[int]:
    """Bounds of the stretches of `text` that compose independently of each other."""
    bounds = [0]
    for at in range(1, len(text)):
        cluster, char = text[bounds[-1] : at][-32:], text[at]
        if unicodedata.combining(char):
            continue
        both = unicodedata.normalize("NFC", cluster + char)
        alone = unicodedata.normalize("NFC", cluster) + unicodedata.normalize("NFC", char)
        if both == alone:
            bounds.append(at)
    return [*bounds, len(text)]
