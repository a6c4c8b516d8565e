"""Which normaliser reads which language."""

import re
from collections.abc import Sequence

from services.tts.normalisation.base import Normaliser, Replacement, Rule, apply_rules
from services.tts.normalisation.english import English
from services.tts.normalisation.vietnamese import Vietnamese

_MONTH_FIRST = frozenset({"en", "en-us", "en-ph"})
_CLEAN_UP: tuple[Rule, ...] = ((re.compile(r"[|\\^~*_`{}<>]+"), lambda _: " "),)
"""For languages without rules of their own: what an engine would read as the name of a symbol."""


def normaliser_for(language: str) -> Normaliser:
    """The normaliser for a BCP 47 tag; one that only drops symbols where there is none."""
    tag = language.lower().replace("_", "-")
    match tag.split("-")[0]:
        case "en":
            return English(day_first=tag not in _MONTH_FIRST)
        case "vi":
            return Vietnamese()
    return clean_up


def clean_up(text: str, claimed: Sequence[Replacement] = ()) -> list[Replacement]:
    """Leave words and numbers to the engine."""
    return apply_rules(text, _CLEAN_UP, claimed)
