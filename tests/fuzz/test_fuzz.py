"""A small part of what `python -m tests.fuzz` does: enough to notice when a change breaks much."""

from contextlib import nullcontext

import pytest

from tests.fuzz.runner import Campaign, attempt_once, input_bytes, shrunk
from tests.fuzz.source import Source
from tests.fuzz.target import Target, Violation, check, pure
from tests.fuzz.targets.all import LIVE, PURE

SEED = 20_260_101
"""Fixed: a test that fails now and then helps nobody. Long budgets take new ones."""


def found_nothing(targets: tuple[Target, ...], inputs: int, seed: int = SEED) -> None:
    campaign = Campaign(targets, seed)
    campaign.run(inputs=inputs)
    assert not campaign.findings, "\n".join(each.told() for each in campaign.findings)
    assert campaign.inputs >= inputs * 0.99


def test_a_few_inputs_of_every_kind() -> None:
    found_nothing(PURE, 1500)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_many_inputs_of_every_kind() -> None:
    found_nothing(PURE, 10_000, SEED + 1)


@pytest.mark.slow
@pytest.mark.timeout(180)
# Starlette leaves it to the garbage collector to close the file of a form that never ended.
@pytest.mark.filterwarnings("ignore:Unclosed file <tempfile:ResourceWarning")
@pytest.mark.parametrize("target", LIVE, ids=lambda target: target.name)
def test_connections_to_the_real_services(target: Target) -> None:
    found_nothing((target,), 200, SEED + 2)


# The fuzzer itself.


def stumbles(source: Source) -> None:
    """Wrong for any input that has a 7 in it, not at its beginning."""
    data = source.take(1000)
    check(7 not in data[1:], "a seven")


STUMBLING = pure("stumbling", stumbles, share=1)


def test_a_finding_is_told_with_an_input_that_is_small_and_can_be_replayed() -> None:
    campaign = Campaign((STUMBLING,), SEED)
    campaign.run(inputs=200)
    finding = campaign.findings[0]
    assert finding.data == b"\x00\x07"
    assert "--target stumbling --replay 0007" in finding.told()
    with pytest.raises(Violation, match="a seven"):
        attempt_once(STUMBLING, stumbles, finding.data)


def test_inputs_depend_on_seed_and_number_alone() -> None:
    first = input_bytes(STUMBLING, SEED, 4)
    assert first == input_bytes(STUMBLING, SEED, 4)
    assert first not in (input_bytes(STUMBLING, SEED, 5), input_bytes(STUMBLING, SEED + 1, 4))


def test_an_input_that_takes_too_long_is_a_finding() -> None:
    def dawdles(source: Source) -> None:
        while source.take(1) == b"\x01":
            sum(range(300_000))

    slow = Target("slow", lambda: nullcontext(dawdles), limit_s=0.02)
    with pytest.raises(Violation, match="permitted"):
        attempt_once(slow, dawdles, b"\x01" * 20)
    assert attempt_once(slow, dawdles, b"") < 0.02


def test_what_is_left_after_shrinking_fails_in_the_same_way() -> None:
    def fails(source: Source) -> None:
        data = source.take(100)
        if data.startswith(b"\x01"):
            raise KeyError
        check(b"\x02" not in data, "a two")

    data, error = shrunk(STUMBLING, fails, b"\x00\x01\x02", Violation("a two"))
    assert data == b"\x02"
    assert isinstance(error, Violation)


def test_a_source_without_bytes_chooses_what_is_simplest() -> None:
    source = Source(b"")
    assert (source.below(10), source.choice("ab"), source.one_in(2)) == (0, "a", False)
    assert source.between(3, 9) == 3
    assert source.exhausted
