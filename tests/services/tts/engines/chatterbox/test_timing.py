"""Word times from attention whose truth is known."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tts.engines.base import WordTime
from services.tts.engines.chatterbox.timing import TimedWord, WordClock

WORDS = [TimedWord("one", 1), TimedWord("two", 6), TimedWord("three", 10), TimedWord("four", 17)]
COUNT = 22


def attention(place: float, rng: np.random.Generator, noise: float) -> npt.NDArray[np.float32]:
    row = np.exp(-0.5 * ((np.arange(COUNT) - place) / 1.0) ** 2) + rng.uniform(0, noise, COUNT)
    return np.asarray(row / row.sum(), dtype=np.float32)


def all_words(clock: WordClock, pieces: list[tuple[int, int]]) -> list[WordTime]:
    told: list[WordTime] = []
    for number, (begin, end) in enumerate(pieces):
        told += clock.begun(begin, end, 40.0, final=number == len(pieces) - 1)
    return told


@pytest.mark.parametrize("noise", [0.0, 0.3, 0.6])
def test_words_begin_where_the_attention_comes_to_them(noise: float) -> None:
    rng = np.random.default_rng(1)
    clock = WordClock(WORDS)
    rate = 0.5  # text tokens for each speech token
    for step in range(round(COUNT / rate)):
        clock.observe(attention(step * rate, rng, noise))
    told = all_words(clock, [(0, 40 * round(COUNT / rate))])
    assert [word.word for word in told] == ["one", "two", "three", "four"]
    for word, truth in zip(told, WORDS, strict=True):
        assert word.start_ms == pytest.approx(truth.first / rate * 40, abs=100)


def test_silence_at_the_end_is_not_the_last_word_s() -> None:
    rng = np.random.default_rng(1)
    clock = WordClock(WORDS)
    for step in range(100):
        clock.observe(attention(min(21.0, step * 0.5), rng, 0.0))
    last = clock.begun(0, 4000, 40.0, final=True)[-1]
    assert last.start_ms == pytest.approx(17 / 0.5 * 40, abs=100)
    assert 1500 < last.end_ms < 2200


def test_a_single_look_ahead_moves_nothing() -> None:
    rng = np.random.default_rng(1)
    clock = WordClock(WORDS)
    for step in range(40):
        clock.observe(attention(7 if step == 5 else 2, rng, 0.0))
    assert [word.word for word in clock.begun(0, 1600, 40.0, final=False)] == ["one"]


@given(
    seed=st.integers(0, 1000),
    steps=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    drift=st.floats(0.0, 3.0),
    speed=st.floats(0.25, 4.0),
)
def test_whatever_the_model_looks_at_words_come_once_in_order_within_the_audio(
    seed: int, steps: list[int], drift: float, speed: float
) -> None:
    rng = np.random.default_rng(seed)
    clock = WordClock(WORDS)
    token_ms = 40 / speed
    heard, begin, told = 0, 0, []
    for number, count in enumerate(steps):
        final = number == len(steps) - 1
        for _ in range(count):
            clock.observe(attention(float(rng.normal(heard * drift, 4)), rng, 0.5))
            heard += 1
        # Audio comes later than its tokens; in the end all of it is there.
        end = max(begin, round((heard if final else heard - 4) * token_ms))
        end = max(end, begin + len(WORDS)) if final else end
        for word in clock.begun(begin, end, token_ms, final=final):
            assert begin <= word.start_ms <= end
            told.append(word)
        begin = end
    assert [word.word for word in told] == [word.text for word in WORDS]
    assert all(word.start_ms < word.end_ms for word in told)
    assert all(word.end_ms <= after.start_ms for word, after in pairwise(told))
