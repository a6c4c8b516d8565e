"""How figures are written."""

import pytest

from services.bench.figures import level_table, number


@pytest.mark.parametrize(
    ("value", "decimals", "written"),
    [
        (None, 2, "–"),
        (3.0, 2, "3"),
        (3.456, 2, "3.46"),
        (3.456, 1, "3.5"),
        (19.99, 1, "20.0"),
        (20.4, 2, "20"),
        (-31.6, 2, "-32"),
    ],
)
def test_only_small_numbers_have_decimals(value: float | None, decimals: int, written: str) -> None:
    assert number(value, decimals) == written


def test_each_level_is_a_column() -> None:
    table = level_table("at once", ["1", "8"], [{"a": "x", "b": "y"}, {"a": "z", "b": "w"}])
    assert [list(column.cells) for column in table.columns] == [["a", "b"], ["x", "y"], ["z", "w"]]
    assert level_table("at once", [], []).row_count == 0
