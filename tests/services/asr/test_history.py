"""A window on a stream of audio."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.asr.history import AudioHistory
from services.asr.vad.base import Floats


def numbered(start: int, count: int) -> Floats:
    """Every sample is its own number."""
    return np.arange(start, start + count, dtype=np.float32)


def test_it_begins_empty() -> None:
    history = AudioHistory()
    assert (history.start, history.end) == (0, 0)
    assert len(history.slice(0, 1000)) == 0
    history.forget(5000)
    assert (history.start, history.end) == (0, 0)


def test_a_slice_is_a_copy() -> None:
    """A request outlives the history's own array."""
    history = AudioHistory()
    history.append(numbered(0, 512))
    before = history.slice(0, 512)
    before[:] = -1
    np.testing.assert_array_equal(history.slice(0, 512), numbered(0, 512))


def test_forgotten_samples_are_left_out() -> None:
    history = AudioHistory()
    history.append(numbered(0, 100_000))
    history.forget(90_000)
    assert history.start == 90_000
    np.testing.assert_array_equal(history.slice(80_000, 90_010), numbered(90_000, 10))
    assert len(history.slice(0, 1000)) == 0


def test_memory_is_given_back_after_a_long_turn() -> None:
    history = AudioHistory()
    for at in range(0, 3_200_000, 32_000):
        history.append(numbered(at, 32_000))
    history.forget(3_190_000)
    assert history._samples.nbytes < 200_000
    np.testing.assert_array_equal(history.slice(3_190_000, 3_200_000), numbered(3_190_000, 10_000))


steps = st.lists(
    st.tuples(st.sampled_from([1, 512, 5000, 40_000]), st.integers(0, 200_000)), max_size=30
)


@given(steps)
def test_samples_stay_under_their_numbers(steps: list[tuple[int, int]]) -> None:
    history, heard = AudioHistory(), 0
    for count, keep in steps:
        history.append(numbered(heard, count))
        heard += count
        before = history.start
        history.forget(heard - keep)
        assert history.end == heard
        assert before <= history.start <= max(before, heard - keep)
        np.testing.assert_array_equal(
            history.slice(history.start, heard), numbered(history.start, heard - history.start)
        )
        middle = (history.start + heard) // 2
        np.testing.assert_array_equal(
            history.slice(middle, middle + 3), np.arange(heard)[middle : middle + 3]
        )


@given(st.integers(0, 100_000), st.integers(1, 4))
def test_what_is_not_needed_is_forgotten(keep: int, seconds: int) -> None:
    history = AudioHistory()
    for at in range(0, 640_000, 16_000 * seconds):
        history.append(numbered(at, 16_000 * seconds))
        history.forget(history.end - keep)
        assert history.end - history.start <= 2 * keep + 2 * 16_000 * seconds


def test_what_is_released_takes_no_memory() -> None:
    history = AudioHistory()
    history.append(np.ones(40_000, dtype=np.float32))
    history.release()
    assert (history.start, history.end) == (40_000, 40_000)
    assert history.slice(0, 40_000).size == 0
    history.append(np.ones(3, dtype=np.float32))
    assert history.slice(0, 50_000).tolist() == [1.0, 1.0, 1.0]
