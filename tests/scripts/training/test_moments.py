"""Moments: added piece by piece they are those of the whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.training.moments import Moments

pieces = st.lists(st.lists(st.floats(50, 600), max_size=20), min_size=1, max_size=10)


@given(pieces)
def test_pieces_add_up_to_the_whole(parts: list[list[float]]) -> None:
    total = Moments()
    for part in parts:
        total += Moments.of(np.array(part))
    whole = np.array([value for part in parts for value in part])
    assert total.count == len(whole)
    if len(whole):
        assert total.mean == pytest.approx(whole.mean())
        assert total.std == pytest.approx(whole.std(), abs=1e-6)
    else:
        assert total.std == 0
