"""Rows in files: in order, bounded, and none lost but what was cut short."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.voice_agent.store.records import Row
from examples.voice_agent.store.spool import Spool, SpoolFull


def rows(first: int, count: int, text: str = "") -> list[Row]:
    return [Row("events", {"seq": first + n, "text": text}) for n in range(count)]


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=20), st.text(max_size=20))
def test_rows_come_out_as_they_went_in(steps: list[tuple[int, bool]], text: str) -> None:
    """Also across processes."""
    text = text.encode("utf-8", "replace").decode()
    with tempfile.TemporaryDirectory() as folder:
        spool, given_rows, taken = Spool(Path(folder), 10**6, segment_bytes=300), 0, list[Row]()
        for count, restart in steps:
            spool.append(rows(given_rows, count, text))
            given_rows += count
            if restart:
                spool = Spool(Path(folder), 10**6, segment_bytes=300)
                spool.look()
            elif spool:
                taken += spool.oldest()
                spool.forget_oldest()
        while spool:
            taken += spool.oldest()
            spool.forget_oldest()
        assert taken == rows(0, given_rows, text)
        assert (spool.size, list(Path(folder).iterdir())) == (0, [])


def test_what_does_not_fit_is_refused_whole(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1000)
    spool.append(rows(0, 5))
    size = spool.size
    with pytest.raises(SpoolFull):
        spool.append(rows(5, 100))
    assert spool.size == size
    assert spool.oldest() == rows(0, 5)


def test_a_line_that_was_cut_short_costs_only_itself(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10_000)
    spool.append(rows(0, 3))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    spool = Spool(tmp_path, 10_000)
    spool.look()
    spool.append(rows(3, 2))
    found: list[Row] = []
    while spool:
        found += spool.oldest()
        spool.forget_oldest()
    assert found == rows(0, 2) + rows(3, 2)
    assert spool.broken_lines == 1
