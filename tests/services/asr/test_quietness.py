from hypothesis import given
from hypothesis import strategies as st

from services.asr.quietness import Quietness
from services.asr.vad.base import FRAME_SAMPLES

FRAMES = 8


def heard(*probabilities: float) -> Quietness:
    quietness = Quietness(FRAMES)
    for probability in probabilities:
        quietness.heard(probability)
    return quietness


def test_the_cut_is_after_the_quietest_frame() -> None:
    assert heard(0.9, 0.1, 0.8, 0.9).quietest(4 * FRAME_SAMPLES, 1 << 20) == 2 * FRAME_SAMPLES


def test_nothing_is_cut_that_is_not_free() -> None:
    quietness, end = heard(0.1, 0.9, 0.5, 0.9), 4 * FRAME_SAMPLES
    assert quietness.quietest(end, 3 * FRAME_SAMPLES) == 3 * FRAME_SAMPLES
    assert quietness.quietest(end, FRAME_SAMPLES) == end


def test_nothing_is_cut_further_back_than_asked() -> None:
    quietness = heard(0.0, *[0.9] * (FRAMES - 1), 0.4, 0.9)
    assert quietness.quietest(100 * FRAME_SAMPLES, 1 << 20) == 99 * FRAME_SAMPLES


@given(
    st.lists(st.floats(0, 1), max_size=30),
    st.integers(0, 40 * FRAME_SAMPLES),
    st.integers(0, 31),
)
def test_a_cut_lies_on_a_frame_within_what_is_free(
    probabilities: list[float], free: int, odd: int
) -> None:
    end = len(probabilities) * FRAME_SAMPLES + odd
    cut = heard(*probabilities).quietest(end, free)
    assert (end - cut) % FRAME_SAMPLES == 0
    assert end - min(free, FRAMES * FRAME_SAMPLES) <= cut <= end
