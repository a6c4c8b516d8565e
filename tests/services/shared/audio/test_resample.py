import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.shared.audio.pcm import Floats
from services.shared.audio.resample import StreamResampler

RATES = [8000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000]


def tone(rate: int, hertz: float, seconds: float = 1.0) -> Floats:
    times = np.arange(round(rate * seconds)) / rate
    return (0.5 * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


def resampled(samples: Floats, rate_in: int, rate_out: int, chunk: int) -> Floats:
    resampler = StreamResampler(rate_in, rate_out)
    parts = [
        resampler.push(samples[start : start + chunk]) for start in range(0, len(samples), chunk)
    ]
    return np.concatenate([*parts, resampler.flush()])


def decibels(samples: npt.NDArray[np.floating]) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(np.square(samples, dtype=np.float64))) + 1e-12))


@settings(max_examples=60)
@given(
    rate_in=st.sampled_from(RATES),
    rate_out=st.sampled_from(RATES),
    lengths=st.lists(st.integers(0, 2000), max_size=12),
    low_latency=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_chunking_changes_nothing(
    rate_in: int, rate_out: int, lengths: list[int], low_latency: bool, seed: int
) -> None:
    noise = np.random.default_rng(seed).uniform(-1, 1, sum(lengths)).astype(np.float32)
    one = StreamResampler(rate_in, rate_out, low_latency=low_latency)
    expected = np.concatenate([one.push(noise), one.flush()])
    many = StreamResampler(rate_in, rate_out, low_latency=low_latency)
    ends = [sum(lengths[:count]) for count in range(1, len(lengths))]
    parts = [many.push(part) for part in np.split(noise, ends)]
    actual = np.concatenate([*parts, many.flush()])
    assert actual.dtype == np.float32
    assert len(actual) == round(len(noise) * rate_out / rate_in)
    assert len(actual) == len(expected)
    assert np.allclose(actual, expected, atol=1e-6)


@pytest.mark.parametrize("rate_in", RATES)
@pytest.mark.parametrize("rate_out", RATES)
def test_a_tone_stays_what_and_where_it_was(rate_in: int, rate_out: int) -> None:
    actual = resampled(tone(rate_in, 1000), rate_in, rate_out, rate_in // 100)
    middle = slice(rate_out // 4, 3 * rate_out // 4)  # the ends ring
    phase = 2 * np.pi * 1000 * np.arange(rate_out)[middle] / rate_out
    waves = np.stack([np.sin(phase), np.cos(phase)], axis=1)
    (sine, cosine), *_ = np.linalg.lstsq(waves, actual[middle].astype(np.float64))
    assert abs(np.hypot(sine, cosine) - 0.5) < 0.001
    assert abs(np.arctan2(cosine, sine) / (2 * np.pi * 1000)) < 0.000_25  # seconds
    assert decibels(actual[middle] - waves @ [sine, cosine]) < -90


@pytest.mark.parametrize("rate_out", [8000, 16_000])
def test_what_the_new_rate_cannot_hold_is_removed(rate_out: int) -> None:
    too_high = tone(48_000, rate_out * 0.6)
    assert decibels(resampled(too_high, 48_000, rate_out, 480)[800:-800]) < -80


def test_upsampling_leaves_no_image() -> None:
    """3 kHz at 8 kHz would come back as 5 kHz."""
    spectrum = np.abs(
        np.fft.rfft(resampled(tone(8000, 3000), 8000, 16_000, 80) * np.hanning(16000))
    )
    assert spectrum[4900:5100].max() < spectrum[2990:3010].max() * 1e-4


@pytest.mark.parametrize(
    ("rate_in", "rate_out", "most_ms"),
    [(8000, 16_000, 31), (48_000, 16_000, 14), (44_100, 16_000, 15), (24_000, 8000, 26)],
)
def test_latency_is_small_and_constant(rate_in: int, rate_out: int, most_ms: float) -> None:
    resampler = StreamResampler(rate_in, rate_out)
    samples, out = tone(rate_in, 440), 0
    for end in range(rate_in // 100, len(samples) + 1, rate_in // 100):
        out += len(resampler.push(samples[end - rate_in // 100 : end]))
        assert end / rate_in * 1000 - out / rate_out * 1000 <= most_ms


@pytest.mark.parametrize("low_latency", [True, False])
def test_begins_anew_after_a_flush(low_latency: bool) -> None:
    resampler = StreamResampler(8000, 16_000, low_latency=low_latency)
    samples = tone(8000, 440, 0.1)
    first = np.concatenate([resampler.push(samples), resampler.flush()])
    second = np.concatenate([resampler.push(samples), resampler.flush()])
    assert np.array_equal(first, second)


def test_equal_rates_pass_through() -> None:
    resampler = StreamResampler(16_000, 16_000)
    samples = tone(16_000, 440, 0.01)
    assert resampler.push(samples) is samples
    assert resampler.flush().shape == (0,)


def test_impossible_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="0 Hz"):
        StreamResampler(8000, 0)
