"""Fair shares of too few places."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from services.asr.fair_places import to_be_displaced

RED, BLUE = b"red", b"blue"


def test_who_has_the_most_gives_the_oldest() -> None:
    held = {"1": BLUE, "2": RED, "3": RED, "4": RED}
    assert to_be_displaced(held, BLUE) == "2"
    assert to_be_displaced(held, b"green") == "2"


def test_nobody_gives_to_who_would_have_more_then() -> None:
    assert to_be_displaced({"1": RED, "2": RED}, RED) is None
    assert to_be_displaced({"1": RED, "2": RED, "3": BLUE}, BLUE) is None
    assert to_be_displaced({"1": RED}, BLUE) is None
    assert to_be_displaced({"1": None, "2": None}, RED) == "1"


@given(st.lists(st.sampled_from([RED, BLUE, b"green", None]), max_size=40), st.integers(1, 8))
def test_however_they_come_the_shares_are_fair(comers: list[bytes | None], places: int) -> None:
    held: dict[str, bytes | None] = {}
    for number, holder in enumerate(comers):
        if len(held) == places:
            goes = to_be_displaced(held, holder)
            if goes is None:
                continue
            del held[goes]
        held[str(number)] = holder
    shares, wanted = Counter(held.values()), Counter(comers)
    for holder, share in shares.items():
        for other in wanted:
            # Who has less has all that it wanted, or lacks no more than one.
            assert wanted[other] == shares[other] or shares[other] >= share - 1, holder
