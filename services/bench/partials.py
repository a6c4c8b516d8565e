"""How steady and how frequent partials are. Pure."""

import re
from collections.abc import Sequence
from itertools import pairwise

from services.bench.passages import Segment

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def changed_words(texts: Sequence[str]) -> int:
    """Words shown that did not stay: for each text, those beyond what the next one kept.

    The last text is the final. Case and punctuation do not count. (Divided by the final's words:
    the unstable partial word ratio of Shangguan et al. 2020.)
    """
    shown = [words_of(text) for text in texts]
    return sum(len(before) - _kept(before, after) for before, after in pairwise(shown))


def retractions(segment: Segment) -> int:
    """Times that a promise was broken: `stable_text` that shrank, or that is no prefix."""
    broken = 0
    promised = ""
    for _, partial in segment.partials:
        broken += not partial.stable_text.startswith(promised)
        broken += not partial.text.startswith(partial.stable_text)
        promised = partial.stable_text
    if segment.final is not None:
        broken += not segment.final.text.startswith(promised)
    return broken


def gaps_s(segment: Segment) -> list[float]:
    """Seconds between one partial and the next."""
    return [later - earlier for (earlier, _), (later, _) in pairwise(segment.partials)]


def flicker_of(segment: Segment) -> tuple[int, int]:
    """Changed words, and words of the final."""
    final = segment.final.text if segment.final else ""
    texts = [*(partial.text for _, partial in segment.partials), final]
    return changed_words(texts), len(words_of(final))


def words_of(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _kept(before: Sequence[str], after: Sequence[str]) -> int:
    kept = 0
    for old, new in zip(before, after, strict=False):
        if old != new:
            break
        kept += 1
    return kept
