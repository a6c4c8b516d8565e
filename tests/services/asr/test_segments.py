from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.asr.segments import CuttingOptions, pieces
from services.asr.vad.base import FRAME_MS, FRAME_SAMPLES

OPTIONS = CuttingOptions()


def frames(*runs: tuple[int, float]) -> list[float]:
    """Probabilities from (milliseconds, probability)."""
    return [probability for ms, probability in runs for _ in range(ms // FRAME_MS)]


def in_ms(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(start // 16, end // 16) for start, end in spans]


def test_silence_has_no_pieces() -> None:
    assert pieces([], OPTIONS) == []
    assert pieces(frames((60_000, 0.1)), OPTIONS) == []


def test_speech_is_padded_on_both_sides() -> None:
    [(start, end)] = in_ms(pieces(frames((3200, 0.0), (3200, 0.9), (3200, 0.0)), OPTIONS))
    assert 2900 <= start <= 3000
    assert 6600 <= end <= 6700


def test_padding_stays_inside_the_recording() -> None:
    heard = frames((640, 0.9))
    assert pieces(heard, OPTIONS) == [(0, len(heard) * FRAME_SAMPLES)]


def test_soft_endings_belong_to_speech_and_soft_sounds_do_not_start_it() -> None:
    soft = frames((3200, 0.4))
    assert pieces(soft, OPTIONS) == []
    [(start, end)] = pieces(frames((640, 0.9)) + soft, OPTIONS)
    assert end - start == len(frames((640, 0.9)) + soft) * FRAME_SAMPLES


def test_sentences_share_a_piece_and_a_long_silence_parts_them() -> None:
    near = frames((2000, 0.9), (1000, 0.0), (2000, 0.9))
    far = frames((2000, 0.9), (4000, 0.0), (2000, 0.9))
    assert len(pieces(near, OPTIONS)) == 1
    assert len(pieces(far, OPTIONS)) == 2


def test_endless_speech_is_cut_where_it_is_quietest() -> None:
    heard = frames((25_000, 0.9), (64, 0.6), (20_000, 0.9))
    first, second = in_ms(pieces(heard, OPTIONS))
    assert first[1] == second[0]
    assert 24_900 <= first[1] <= 25_100


@given(
    st.lists(
        st.tuples(
            st.integers(1, 1200),
            st.sampled_from([0.0, 0.2, 0.4, 0.45, 0.6, 1.0]),
        ),
        max_size=12,
    ),
    st.sampled_from([0, 200, 1000]),
)
def test_pieces_hold_all_speech_once_in_order(
    runs: list[tuple[int, float]], padding_ms: int
) -> None:
    options = CuttingOptions(padding_ms=padding_ms)
    probabilities = [probability for count, probability in runs for _ in range(count)]
    spans = pieces(probabilities, options)
    for (_, end), (start, _) in pairwise(spans):
        assert end <= start
    covered: set[int] = set()
    for start, end in spans:
        assert 0 <= start < end <= len(probabilities) * FRAME_SAMPLES
        assert end - start <= options.piece_ms * 16
        covered.update(range(start // FRAME_SAMPLES, end // FRAME_SAMPLES))
    for index, probability in enumerate(probabilities):
        if probability >= options.start_threshold:
            assert index in covered
