"""Who may have the places that are too few: nobody's many keep another's few out."""

from collections import Counter
from collections.abc import Mapping

Holder = bytes | None


def to_be_displaced(held: Mapping[str, Holder], newcomer: Holder) -> str | None:
    """Whose place a newcomer gets where all are taken, if anybody's.

    The oldest one of the holder with the most, if that one still has no less than the newcomer
    afterwards. So one holder may have all places until others come, and all have their share then.

    Args:
        held: name → holder, the oldest first.
    """
    counts = Counter(held.values())
    [(greatest, most)] = counts.most_common(1)
    if most < counts[newcomer] + 2:
        return None
    return next(name for name, holder in held.items() if holder == greatest)
