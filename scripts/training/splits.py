"""Train, validation and test: by speaker, so that nobody is heard in two of them, or by clip.

The order is that of a hash of the seed and the name, so it is the same on every machine, and a new
speaker or clip moves few of the others. Pure.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scripts.training.selection import Utterance

By = Literal["speakers", "clips"]


class CannotSplit(Exception):
    """There is too little to split; the sentence says what else can be done."""


@dataclass(frozen=True, slots=True)
class Split:
    """Three lists without a clip in common, each in the order of the input."""

    train: tuple[Utterance, ...]
    validation: tuple[Utterance, ...]
    test: tuple[Utterance, ...]

    def parts(self) -> dict[str, tuple[Utterance, ...]]:
        return {"train": self.train, "validation": self.validation, "test": self.test}


@dataclass(frozen=True, slots=True)
class Shares:
    """Of the hours: the two small parts get no more than that, but at least one group each."""

    validation: float = 0.02
    test: float = 0.02

    def __post_init__(self) -> None:
        if min(self.validation, self.test) <= 0 or self.validation + self.test >= 1:
            raise ValueError("the shares of validation and test must be above 0, below 1 together")


def split(utterances: Sequence[Utterance], by: By, shares: Shares, seed: int) -> Split:
    """Divide clips.

    Args:
        by: `speakers`: all clips of a speaker are in one part; `clips`: each clip by itself.

    Raises:
        CannotSplit: fewer than three speakers or clips.
    """
    groups: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        groups[utterance.speaker if by == "speakers" else utterance.audio].append(utterance)
    if len(groups) < 3:
        instead = "; divide by clips instead" if by == "speakers" else ""
        raise CannotSplit(f"{len(groups)} {by} cannot be divided into three parts{instead}")
    hours = {name: sum(one.duration for one in group) for name, group in groups.items()}
    order = sorted(groups, key=lambda name: _rank(seed, name))
    total = sum(hours.values())
    test = _take(order, hours, total * shares.test, leave=2)
    rest = [name for name in order if name not in test]
    validation = _take(rest, hours, total * shares.validation, leave=1)
    where = dict.fromkeys(test, "test") | dict.fromkeys(validation, "validation")
    parts: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        group = utterance.speaker if by == "speakers" else utterance.audio
        parts[where.get(group, "train")].append(utterance)
    return Split(tuple(parts["train"]), tuple(parts["validation"]), tuple(parts["test"]))


def _take(order: Sequence[str], hours: dict[str, float], wanted: float, *, leave: int) -> set[str]:
    """Groups in order that fit, at least one: if none fits, the smallest."""
    taken: set[str] = set()
    for name in order:
        if len(order) - len(taken) > leave and hours[name] <= wanted:
            taken.add(name)
            wanted -= hours[name]
    return taken or {min(order, key=lambda name: hours[name])}


def _rank(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()
