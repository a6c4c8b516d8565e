"""Builders of hand-made event streams."""

from collections.abc import Callable

import pytest

from services.asr.messages import Final, Partial, Timings
from services.bench.script import Spoken


@pytest.fixture
def final() -> Callable[..., Final]:
    def make(
        text: str,
        start_ms: int,
        end_ms: int,
        *,
        turn_end: bool = True,
        suppressed: str | None = None,
        decode_ms: int = 90,
    ) -> Final:
        timings = Timings(
            vad_wait_ms=200,
            queue_ms=10,
            batch_size=2,
            decode_ms=decode_ms,
            turn_model_ms=50,
            total_ms=300,
            speculative=True,
        )
        return Final(
            text=text,
            start_ms=start_ms,
            end_ms=end_ms,
            turn_end=turn_end,
            language="en",
            confidence=0.9,
            suppressed=suppressed,
            timings=timings,
        )

    return make


@pytest.fixture
def partial() -> Callable[..., Partial]:
    def make(text: str, stable: str = "") -> Partial:
        return Partial(text=text, stable_text=stable, start_ms=0, end_ms=1000)

    return make


@pytest.fixture
def spoken() -> Callable[..., Spoken]:
    def make(text: str, start_s: float, end_s: float) -> Spoken:
        return Spoken(text, text, "en", start_s, end_s)

    return make
