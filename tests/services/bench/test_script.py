from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.bench.corpus import Recording
from services.bench.script import Clip, Extent, Script, write_scripts
from services.bench.wire import Wire
from services.shared.audio.pcm import AudioFormat, Encoding

WIRE = Wire(AudioFormat(Encoding.PCM_S16LE, 16_000))


def _clips(count: int, seconds: float = 0.5) -> list[Clip]:
    samples = np.full(round(seconds * 16_000), 0.5, dtype=np.float32)
    return [
        Clip(Recording(f"r{n}", samples, f"text {n}", "en", 0.1, seconds), WIRE.encode(samples))
        for n in range(count)
    ]


def _scripts(callers: int, extent: Extent, count: int = 6, seed: int = 1) -> list[Script]:
    return write_scripts(_clips(count), WIRE, callers, extent, seed)


def test_without_bounds_everybody_says_everything_once() -> None:
    scripts = _scripts(3, Extent())
    orders = [[spoken.recording for spoken in script.spoken] for script in scripts]
    assert all(sorted(order) == [f"r{n}" for n in range(6)] for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_callers_together_cover_the_corpus_with_a_part_each() -> None:
    scripts = _scripts(3, Extent(files=2))
    said = [spoken.recording for script in scripts for spoken in script.spoken]
    assert sorted(said) == [f"r{n}" for n in range(6)]


def test_minutes_repeat_a_small_corpus() -> None:
    [script] = _scripts(1, Extent(minutes=0.5))
    assert len(script.spoken) > 6
    assert 30 <= script.duration_s < 30 + 1.6 + 0.5 + 3.5


def test_both_bounds_hold() -> None:
    assert len(_scripts(1, Extent(files=2, minutes=0.5))[0].spoken) == 2


def test_a_seed_gives_the_same_call_again() -> None:
    first, again, other = (_scripts(2, Extent(), seed=seed)[1] for seed in (1, 1, 2))
    assert b"".join(first.chunks(20)) == b"".join(again.chunks(20))
    assert first.spoken == again.spoken != other.spoken


def test_pauses_are_natural_and_the_end_is_awaited() -> None:
    [script] = _scripts(1, Extent())
    pauses = [later.start_s - 0.1 - earlier.end_s for earlier, later in pairwise(script.spoken)]
    assert all(1.0 <= pause <= 1.601 for pause in pauses)
    assert len(set(pauses)) > 1
    assert 3.5 <= script.duration_s - script.spoken[-1].end_s < 3.52
    assert round(script.duration_s * 16_000) % 320 == 0


@given(chunk_ms=st.integers(5, 400))
def test_the_audio_lies_where_the_script_says(chunk_ms: int) -> None:
    [script] = _scripts(1, Extent(), count=3)
    chunks = list(script.chunks(chunk_ms))
    size = 32 * chunk_ms
    assert all(len(chunk) == size for chunk in chunks[:-1])
    assert 0 < len(chunks[-1]) <= size
    samples = WIRE.format.decode(b"".join(chunks))
    assert len(samples) == round(script.duration_s * 16_000)
    loud = samples > 0.25
    expected = np.zeros(len(samples), dtype=bool)
    for spoken in script.spoken:
        begin = round((spoken.start_s - 0.1) * 16_000)
        expected[begin : begin + 8000] = True
    assert np.array_equal(loud, expected)


def test_pause_noise_is_quiet() -> None:
    [script] = _scripts(1, Extent(), count=1)
    samples = WIRE.format.decode(b"".join(script.chunks(20)))
    tail = samples[-16_000:]
    assert 20 * np.log10(np.sqrt(np.mean(tail**2))) == pytest.approx(-70, abs=1)
