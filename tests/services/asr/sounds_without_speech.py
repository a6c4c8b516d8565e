"""Sounds that nobody speaks, as a microphone or a telephone line brings them, all made here.

Every sound is a function of its length in milliseconds and of a random generator, so that a test
can have as many different ones of a kind as it likes.
"""

from collections.abc import Callable, Sequence

import numpy as np

from services.shared.audio.pcm import Floats
from tests.services.asr.sound_parts import (
    RATE,
    Random,
    at_level,
    band,
    cadence,
    coloured,
    fading,
    note,
    sequence,
    struck,
    times_of,
    tones_of,
)

Sound = Callable[[int, Random], Floats]


def sounds_without_speech() -> dict[str, Sound]:
    """All of them, by name."""
    return {**_noises(), **_telephone(), **_room(), **_music()}


def sounds_like_voices() -> dict[str, Sound]:
    """What has a throat but no words, which even people take for a "hey" now and then."""
    return _animals()


def _noises() -> dict[str, Sound]:
    def noise(exponent: float, dbfs: float) -> Sound:
        return lambda ms, random: at_level(coloured(ms, random, exponent), dbfs)

    def quiet(ms: int, random: Random) -> Floats:
        return np.zeros(RATE * ms // 1000, dtype=np.float32)

    found: dict[str, Sound] = {"silence": quiet}
    for name, exponent in (("white", 0.0), ("pink", 1.0), ("brown", 2.0)):
        for dbfs in (-65, -45, -30, -15):
            found[f"{name} noise {dbfs} dB"] = noise(exponent, dbfs)
    return found


def _telephone() -> dict[str, Sound]:
    def tones(*hertz: float) -> Sound:
        return lambda ms, random: tones_of(ms, hertz)

    def cadenced(hertz: Sequence[float], *pattern: int) -> Sound:
        return lambda ms, random: cadence(tones_of(ms, hertz), pattern)

    def special(ms: int, random: Random) -> Floats:
        heights = [950.0, 1400.0, 1800.0, 0.0, 0.0]
        return sequence(ms, lambda n: tones_of(330, [heights[n % 5]]) * (heights[n % 5] > 0))

    def keys(on_ms: int, off_ms: int) -> Sound:
        rows, columns = (697, 770, 852, 941), (1209, 1336, 1477, 1633)

        def make(ms: int, random: Random) -> Floats:
            def key(_: int) -> Floats:
                pair = (float(random.choice(rows)), float(random.choice(columns)))
                return np.concatenate([tones_of(on_ms, pair), np.zeros(RATE * off_ms // 1000)])

            return sequence(ms, key)

        return make

    def crackle(ms: int, random: Random) -> Floats:
        def crack() -> Floats:
            length = int(random.integers(1, 12))
            return random.normal(0, 0.4, length * 16).astype(np.float32)

        hiss = at_level(coloured(ms, random, 0.5), -45)
        return struck(ms, random, 12, crack) + hiss

    def modem(ms: int, random: Random) -> Floats:
        bits = np.repeat(random.integers(0, 2, ms * 3 // 10 + 1), RATE // 300)[: RATE * ms // 1000]
        phase = np.cumsum(np.where(bits, 1650, 1850)) * 2 * np.pi / RATE
        return (0.25 * np.sin(phase)).astype(np.float32)

    def hum(hertz: float) -> Sound:
        return lambda ms, random: tones_of(ms, [hertz * n for n in (1, 2, 3, 5, 7)], -25)

    return {
        "hum 50 Hz": hum(50),
        "hum 60 Hz": hum(60),
        "dial tone US": tones(350, 440),
        "dial tone EU": tones(425),
        "ringback US": cadenced([440, 480], 2000, 4000),
        "ringback EU": cadenced([425], 1000, 4000),
        "ringback UK": cadenced([400, 450], 400, 200, 400, 2000),
        "busy US": cadenced([480, 620], 500, 500),
        "busy EU": cadenced([425], 500, 500),
        "congestion": cadenced([480, 620], 250, 250),
        "special information tone": special,
        "DTMF": keys(100, 100),
        "DTMF, slow": keys(400, 300),
        "fax, calling": cadenced([1100], 500, 3000),
        "fax, called": tones(2100),
        "modem": modem,
        "call waiting": cadenced([440], 300, 2700),
        "beep": cadenced([1000], 700, 1300),
        "line crackle": crackle,
    }


def _room() -> dict[str, Sound]:
    def clicks(ms: int, random: Random) -> Floats:
        return struck(ms, random, 3, lambda: np.full(8, 0.8, dtype=np.float32))

    def typing(ms: int, random: Random) -> Floats:
        return struck(
            ms, random, 7, lambda: band(40, random, 1500, 7000) * fading(40, 6) * np.float32(20)
        )

    def knocks(ms: int, random: Random) -> Floats:
        return struck(ms, random, 2, lambda: note(float(random.uniform(90, 200)), 120, 3, 15) * 0.6)

    def coughs(ms: int, random: Random) -> Floats:
        def cough() -> Floats:
            return at_level(band(300, random, 300, 4000), -8) * fading(300, 60)

        return struck(ms, random, 0.7, cough)

    def breath(ms: int, random: Random) -> Floats:
        swell = np.maximum(0, np.sin(2 * np.pi * 0.4 * times_of(ms))) ** 2
        return at_level(band(ms, random, 400, 3500) * swell, -35)

    def wind(ms: int, random: Random) -> Floats:
        swell = 1 + at_level(band(ms, random, 0, 1), 0)
        return at_level(coloured(ms, random, 1.8) * np.abs(swell), -22)

    def siren(ms: int, random: Random) -> Floats:
        hertz = 900 + 400 * np.sin(2 * np.pi * 0.5 * times_of(ms))
        return (0.2 * np.sin(np.cumsum(hertz) * 2 * np.pi / RATE)).astype(np.float32)

    def birds(ms: int, random: Random) -> Floats:
        def chirp() -> Floats:
            low, high = random.uniform(2500, 5500, 2)
            hertz = np.linspace(low, high, RATE * 120 // 1000)
            return (0.15 * np.sin(np.cumsum(hertz) * 2 * np.pi / RATE)).astype(np.float32)

        return struck(ms, random, 4, chirp)

    return {
        "clicks": clicks,
        "typing": typing,
        "knocks": knocks,
        "coughs": coughs,
        "breath": breath,
        "wind": wind,
        "siren": siren,
        "birds": birds,
    }


def _animals() -> dict[str, Sound]:
    def call(ms: int, low: float, high: float, shake: float, random: Random) -> Floats:
        """A voice that is nobody's: glottal pulses through a throat that opens and closes."""
        times = times_of(ms)
        glide = np.linspace(low, high, len(times)) * (1 + shake * np.sin(40 * times))
        pulses = np.sign(np.sin(np.cumsum(glide) * 2 * np.pi / RATE) - 0.9) + 1
        spectrum = np.fft.rfft(pulses)
        hertz = np.fft.rfftfreq(len(pulses), 1 / RATE)
        peaks = random.uniform([500, 1000], [900, 2200])
        throat = sum((1 / (1 + ((hertz - peak) / 150) ** 2) for peak in peaks), np.zeros(1))
        shape = np.sin(np.pi * times / times[-1])
        return at_level(np.fft.irfft(spectrum * throat, len(pulses)) * shape, -15)

    def barks(ms: int, random: Random) -> Floats:
        return struck(ms, random, 1, lambda: call(180, 350, 500, 0.0, random))

    def cries(ms: int, random: Random) -> Floats:
        return struck(ms, random, 0.4, lambda: call(1100, 380, 470, 0.03, random))

    return {"barks": barks, "cries": cries}


def _music() -> dict[str, Sound]:
    chords = ((220.0, 277.2, 329.6), (196.0, 246.9, 293.7), (174.6, 220.0, 261.6))
    scale = (261.6, 293.7, 329.6, 349.2, 392.0, 440.0, 493.9, 523.3)

    def chord(number: int) -> Floats:
        notes = [note(each, 800) for each in chords[number % 3]]
        return at_level(np.sum(notes, axis=0), -18)

    def harmony(ms: int, random: Random) -> Floats:
        return sequence(ms, chord)

    def melody(ms: int, random: Random) -> Floats:
        return sequence(
            ms,
            lambda _: at_level(
                note(float(random.choice(scale)), int(random.integers(2, 6)) * 100), -18
            ),
        )

    def drums(ms: int, random: Random) -> Floats:
        def beat(number: int) -> Floats:
            kick = note(60, 250, 2, 40)
            snare = band(250, random, 800, 7000) * 8 * fading(250, 30)
            return at_level(kick if number % 2 == 0 else snare, -20)

        return sequence(ms, beat)

    def hold(ms: int, random: Random) -> Floats:
        parts = harmony(ms, random) + melody(ms, random) + 0.5 * drums(ms, random)
        return at_level(parts, -20)

    def strings(ms: int, random: Random) -> Floats:
        def bow(_: int) -> Floats:
            times = times_of(900)
            hertz = float(random.choice(scale)) * (1 + 0.01 * np.sin(2 * np.pi * 5.5 * times))
            phase = np.cumsum(hertz) * 2 * np.pi / RATE
            tone = np.sum([np.sin(phase * n) / n for n in range(1, 9)], axis=0)
            return at_level(tone * np.minimum(1, times * 8), -20)

        return sequence(ms, bow)

    return {
        "chords": harmony,
        "melody": melody,
        "drums": drums,
        "hold music": hold,
        "strings": strings,
    }
