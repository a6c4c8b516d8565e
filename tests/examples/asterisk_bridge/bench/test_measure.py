"""Times read off waveforms whose times are known."""

import numpy as np
import pytest

from examples.asterisk_bridge.bench.measure import (
    answer_s,
    first_sound,
    greeting_s,
    holes,
    last_sound_s,
    loudness,
    silence_after_s,
    sound_spans,
    tone_level,
)
from services.shared.audio.pcm import Floats

RATE = 8000


def sound(*spans: tuple[float, float], length_s: float = 5.0, level: float = 0.2) -> Floats:
    """A noise in these spans, a quiet line (-66 dBFS) elsewhere."""
    chance = np.random.default_rng(1)
    samples = chance.normal(0, 0.0005, round(length_s * RATE)).astype(np.float32)
    for begin, end in spans:
        place = slice(round(begin * RATE), round(end * RATE))
        samples[place] += chance.normal(0, level, place.stop - place.start).astype(np.float32)
    return samples


def test_loudness_is_in_dbfs() -> None:
    assert loudness(np.full(800, 0.1, dtype=np.float32), RATE) == pytest.approx([-20.0] * 10)


def test_spans_join_over_short_pauses_and_leave_clicks_out() -> None:
    spans = sound_spans(sound((1.0, 1.5), (1.7, 2.0), (3.0, 3.4), (4.0, 4.01)), RATE)
    assert np.array(spans) == pytest.approx(np.array([(1.0, 2.0), (3.0, 3.4)]), abs=0.011)


def test_silence_has_no_spans() -> None:
    assert sound_spans(sound(), RATE) == []
    assert first_sound(sound(), RATE) is None
    assert greeting_s(sound(), RATE, 1.0) is None
    assert answer_s(sound(), RATE, 1.0) is None


def test_the_answer_is_counted_from_the_end_of_speech() -> None:
    agent = sound((0.2, 1.0), (2.65, 3.5))
    assert greeting_s(agent, RATE, 0.05) == pytest.approx(0.15, abs=0.011)
    assert answer_s(agent, RATE, 2.0) == pytest.approx(0.65, abs=0.011)


def test_an_old_sound_is_not_the_answer() -> None:
    agent = sound((0.2, 2.1), (2.9, 3.5))
    assert answer_s(agent, RATE, 2.0) == pytest.approx(0.9, abs=0.011)


def test_silence_after_an_interruption() -> None:
    agent = sound((0.5, 2.24), (3.0, 3.2))
    assert silence_after_s(agent, RATE, 2.0) == pytest.approx(0.24, abs=0.011)
    assert silence_after_s(agent, RATE, 4.0) is None
    assert silence_after_s(sound((0.0, 5.0)), RATE, 2.0) is None


@pytest.mark.parametrize("hertz", [440.0, 613.0, 1004.0])
def test_a_tone_is_told_from_others(hertz: float) -> None:
    times = np.arange(RATE) / RATE
    samples = (0.3 * np.sin(2 * np.pi * hertz * times)).astype(np.float32)
    assert tone_level(samples, RATE, hertz) > 0.99
    assert tone_level(samples, RATE, hertz + 100) < 0.01
    assert tone_level(np.zeros(100, dtype=np.float32), RATE, hertz) == 0


def test_an_agent_that_goes_on_in_the_middle_of_the_interruption_is_silent_late() -> None:
    agent = sound((0.5, 1.2), (2.0, 2.3))
    assert last_sound_s(agent, RATE, 1.0, 3.0) == pytest.approx(1.3, abs=0.011)
    assert silence_after_s(agent, RATE, 1.0) == pytest.approx(0.2, abs=0.011)


def test_a_pause_between_words_is_no_silence() -> None:
    agent = sound((0.5, 0.95), (1.15, 1.25))
    assert last_sound_s(agent, RATE, 1.0, 3.0) == pytest.approx(0.25, abs=0.011)


def test_who_did_not_speak_or_never_stops_did_not_fall_silent() -> None:
    assert last_sound_s(sound((3.0, 4.0)), RATE, 1.0, 3.0) is None
    assert last_sound_s(sound((0.5, 4.0)), RATE, 1.0, 3.0) is None


def test_speech_that_breaks_off_has_a_hole() -> None:
    agent = sound((1.0, 2.0))
    agent[round(1.4 * RATE) : round(1.46 * RATE)] = 0
    ((begin_s, length_s),) = holes(agent, RATE)
    assert (begin_s, length_s) == pytest.approx((1.4, 0.06), abs=0.001)


def test_a_pause_that_speech_fades_into_is_no_hole() -> None:
    agent = sound((1.0, 2.0))
    fade = np.linspace(1, 0, round(0.1 * RATE))
    agent[round(1.3 * RATE) : round(1.4 * RATE)] *= fade
    agent[round(1.4 * RATE) : round(1.6 * RATE)] = 0
    agent[round(1.6 * RATE) : round(1.7 * RATE)] *= fade[::-1]
    assert holes(agent, RATE) == []
