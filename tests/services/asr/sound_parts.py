"""What generated sounds are made of: noise, tones, events, sequences; levels and a telephone line.

Levels are in dBFS (0: full scale), audio is mono at 16 kHz.
"""

from collections.abc import Callable, Sequence

import numpy as np

from services.shared.audio.pcm import AudioFormat, Encoding, Floats
from services.shared.audio.resample import StreamResampler

RATE = 16_000
Random = np.random.Generator


def over_the_telephone(samples: Floats) -> Floats:
    """What is left of 16 kHz audio after a line of 8 kHz in G.711 (mu-law)."""
    line = AudioFormat(Encoding.MULAW, 8000)
    down, up = StreamResampler(RATE, 8000), StreamResampler(8000, RATE)
    sent = line.encode(np.concatenate([down.push(samples), down.flush()]))
    return np.concatenate([up.push(line.decode(sent)), up.flush()])


def at_level(samples: Floats, dbfs: float) -> Floats:
    """With this root mean square, clipped at full scale."""
    rms = float(np.sqrt(np.mean(np.square(samples)))) or 1.0
    loud: Floats = np.clip(samples * (10 ** (dbfs / 20) / rms), -1, 1).astype(np.float32)
    return loud


def coloured(ms: int, random: Random, exponent: float) -> Floats:
    """Noise whose power falls with frequency to this power: 0 white, 1 pink, 2 brown."""
    count = RATE * ms // 1000
    spectrum = np.fft.rfft(random.normal(0, 1, count))
    hertz = np.maximum(np.fft.rfftfreq(count, 1 / RATE), 20.0)
    return np.fft.irfft(spectrum / hertz ** (exponent / 2), count).astype(np.float32)


def times_of(ms: int) -> Floats:
    return (np.arange(RATE * ms // 1000) / RATE).astype(np.float32)


def tones_of(ms: int, hertz: Sequence[float], dbfs: float = -15.0) -> Floats:
    times = times_of(ms)
    total = sum((np.sin(2 * np.pi * each * times) for each in hertz), np.zeros_like(times))
    return at_level(total.astype(np.float32), dbfs)


def cadence(sound: Floats, pattern: Sequence[int]) -> Floats:
    """On and off for so many milliseconds each, over and over."""
    gate = np.concatenate(
        [np.full(RATE * ms // 1000, on) for ms, on in zip(pattern, (1, 0) * 9, strict=False)]
    )
    return sound * np.resize(gate, len(sound)).astype(np.float32)


def band(ms: int, random: Random, low: float, high: float) -> Floats:
    count = RATE * ms // 1000
    spectrum = np.fft.rfft(random.normal(0, 1, count))
    hertz = np.fft.rfftfreq(count, 1 / RATE)
    spectrum[(hertz < low) | (hertz > high)] = 0
    return np.fft.irfft(spectrum, count).astype(np.float32)


def struck(ms: int, random: Random, per_s: float, event: Callable[[], Floats]) -> Floats:
    """Events at random times."""
    out = np.zeros(RATE * ms // 1000, dtype=np.float32)
    for _ in range(max(1, round(per_s * ms / 1000))):
        piece = event()
        at = int(random.integers(0, max(1, len(out) - len(piece))))
        room = min(len(piece), len(out) - at)
        out[at : at + room] += piece[:room]
    return np.clip(out, -1, 1)


def fading(ms: int, halving_ms: float) -> Floats:
    fade: Floats = np.float32(0.5) ** (times_of(ms) * 1000 / halving_ms)
    return fade


def note(hertz: float, ms: int, harmonics: int = 6, halving_ms: float = 250.0) -> Floats:
    times = times_of(ms)
    total = np.zeros_like(times)
    for number in range(1, harmonics + 1):
        total += np.sin(2 * np.pi * hertz * number * times) / number**1.3
    return total * fading(ms, halving_ms) * np.minimum(1, times * 100)


def sequence(ms: int, pieces: Callable[[int], Floats]) -> Floats:
    """Pieces one after the other until the time is full."""
    out: list[Floats] = []
    while sum(map(len, out)) < RATE * ms // 1000:
        out.append(pieces(len(out)))
    return np.concatenate(out)[: RATE * ms // 1000].astype(np.float32)
