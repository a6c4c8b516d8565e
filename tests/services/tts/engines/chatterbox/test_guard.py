"""When speech must end."""

import logging
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.tts.engines.chatterbox.guard import (
    MOST_TOKENS,
    AlignmentGuard,
    RepeatGuard,
    TokenBudget,
    Verdict,
)

NOTHING = np.zeros(10, dtype=np.float32)


def look_at(place: int, count: int = 20, weight: float = 0.9) -> npt.NDArray[np.float32]:
    row = np.full(count, (1 - weight) / count, dtype=np.float32)
    row[place] = weight
    return row


@given(st.text(max_size=2000))
def test_the_budget_grows_with_the_text_and_is_bounded(text: str) -> None:
    budget = TokenBudget()
    assert 50 <= budget.tokens(text) <= budget.tokens(text + "a") <= MOST_TOKENS


def test_a_syllable_in_one_character_gets_more_time() -> None:
    assert TokenBudget().tokens("你好世界" * 5) > 2 * TokenBudget().tokens("abcd" * 5)


def test_a_voice_that_is_stuck_is_ended() -> None:
    guard = RepeatGuard()
    verdicts = [guard.judge(NOTHING, token) for token in [1, 2, 3, *([7, 8] * 10)]]
    assert verdicts[:17] == [Verdict.ANY] * 17
    assert Verdict.THE_END in verdicts[17:]


def test_an_ordinary_voice_is_left_alone() -> None:
    guard = RepeatGuard()
    tokens = np.random.default_rng(0).integers(0, 20, 500)
    assert {guard.judge(NOTHING, int(token)) for token in tokens} == {Verdict.ANY}


def test_the_end_comes_not_before_the_text_is_said() -> None:
    guard = AlignmentGuard(20)
    for step in range(17):
        assert guard.judge(look_at(step), step) is Verdict.NOT_THE_END
    assert guard.judge(look_at(17), 17) is Verdict.ANY


def test_a_long_tail_is_cut() -> None:
    guard = AlignmentGuard(20)
    for step in range(18):
        guard.judge(look_at(step), step)
    verdicts = [guard.judge(look_at(18), 100 + step) for step in range(8)]
    assert verdicts[:4] == [Verdict.ANY] * 4
    assert verdicts[-1] is Verdict.THE_END


def test_returning_to_earlier_words_is_cut() -> None:
    guard = AlignmentGuard(20)
    for step in range(18):
        guard.judge(look_at(step), step)
    verdicts = [guard.judge(look_at(5), 100 + step) for step in range(8)]
    assert verdicts[-1] is Verdict.THE_END


def test_a_token_twice_is_the_end() -> None:
    guard = AlignmentGuard(20)
    for step, token in enumerate((4, 4, 5)):  # the first two are not looked at
        assert guard.judge(look_at(step), token) is Verdict.NOT_THE_END
    assert guard.judge(look_at(1), 5) is Verdict.THE_END


@pytest.mark.chatterbox
@settings(max_examples=100)
@given(seed=st.integers(0, 10_000), count=st.integers(7, 40), drift=st.floats(0.3, 1.5))
@example(seed=830, count=7, drift=1.0)  # the first two tokens are equal: no repetition yet
def test_its_rules_are_the_library_s(
    chatterbox_library: Any, seed: int, count: int, drift: float
) -> None:
    import torch
    from chatterbox.models.t3.inference import alignment_stream_analyzer as analyzer_module

    logging.getLogger(analyzer_module.__name__).setLevel(logging.CRITICAL)
    rng = np.random.default_rng(seed)
    analyzer = analyzer_module.AlignmentStreamAnalyzer.__new__(
        analyzer_module.AlignmentStreamAnalyzer
    )
    analyzer.__dict__.update(
        text_tokens_slice=(0, count),
        eos_idx=0,
        alignment=torch.zeros(0, count),
        curr_frame_pos=0,
        text_position=0,
        started=False,
        started_at=None,
        complete=False,
        completed_at=None,
        generated_tokens=[],
    )
    guard = AlignmentGuard(count)
    for step in range(60):
        center = min(count - 1, max(0, round(step * drift + rng.normal() * 2)))
        row = look_at(center, count, weight=float(rng.uniform(0.2, 0.95)))
        if step == 0:  # the library looks at the prompt's rows then, of which one column counts
            row = np.zeros(count, dtype=np.float32)
            analyzer.last_aligned_attns = [torch.zeros(count + 2, count)]
        else:
            analyzer.last_aligned_attns = [torch.from_numpy(row)[None]]
        token = int(rng.integers(0, 50))
        logits = analyzer.step(torch.zeros(1, 3), next_token=token)[0]
        if logits[1] < -1000:
            expected = Verdict.THE_END
        else:
            expected = Verdict.NOT_THE_END if logits[0] < -1000 else Verdict.ANY
        assert guard.judge(row, token) is expected
