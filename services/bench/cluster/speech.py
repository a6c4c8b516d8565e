"""What callers say and what is said to them: everybody their own. Pure but for the corpus."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from services.bench.cluster.fingerprints import RATE, SOUND
from services.bench.corpus import CorpusError, Recording
from services.shared.audio.pcm import Floats
from services.shared.audio.resample import StreamResampler

FRAME_MS = 20
FRAME = RATE * FRAME_MS // 1000
FRAME_BYTES = FRAME * SOUND.frame_bytes
LONGEST_GAP_S = 0.55
"""Recordings with a longer pause inside are left out: it would end the turn."""

_WINDOW = 512
_LOUD = 0.01
"""As the service's voice detector by energy has it: -40 dBFS over 32 ms."""
_EDGE_S = 0.1
_PACES = 0.08
"""Callers speak faster or slower than the recording by up to this share."""
_REPERTOIRE = 6
_NOISE_DB = -70.0

_WORDS = (
    "alpha bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike november oscar "
    "papa quebec romeo sierra tango uniform victor whiskey xray yankee zulu"
)
_LETTERS = tuple(_WORDS.split(" "))
_SENTENCES = (
    "The table is yours from seven until nine.",
    "I have moved the delivery to Thursday morning.",
    "Your bag has arrived at the airport, and it will be with you tonight.",
    "The doctor can see you early next week.",
    "Nothing is open on your account.",
    "A colleague is going to call you within the hour, so please stay near the phone.",
    "The second train waits for yours.",
    "It is already on its way.",
)


@dataclass(frozen=True, slots=True)
class Utterance:
    """One recording at one caller's pace."""

    name: str
    text: str
    data: bytes = field(repr=False)
    """16-bit PCM at 16 kHz, whole frames of 20 ms."""
    speech_ms: tuple[float, float]
    """Where there is sound, from the utterance's first sample."""

    @property
    def seconds(self) -> float:
        return len(self.data) / SOUND.bytes_per_s


def usable(recordings: Sequence[Recording]) -> list[Recording]:
    """Those that are one turn: loud enough, and without a long pause inside.

    Raises:
        CorpusError: none is.
    """
    found = [
        each
        for each in recordings
        if (frames := _loud_frames(each.samples)).size
        and int(np.diff(frames, prepend=frames[0]).max()) * _WINDOW / RATE < LONGEST_GAP_S
    ]
    if not found:
        raise CorpusError(f"no recording is without a pause of {LONGEST_GAP_S} s")
    return found


def repertoire(recordings: Sequence[Recording], caller: int, seed: int) -> list[Utterance]:
    """What one caller has to say, at its own pace, so that no two sound the same."""
    rng = random.Random(f"{seed}/{caller}")
    own = rng.sample(recordings, min(_REPERTOIRE, len(recordings)))
    return [_at_pace(each, 1 + rng.uniform(-_PACES, _PACES)) for each in own]


def _at_pace(recording: Recording, pace: float) -> Utterance:
    frames = _loud_frames(recording.samples)
    begin = max(0, int(frames[0] * _WINDOW - _EDGE_S * RATE))
    end = int((frames[-1] + 1) * _WINDOW + _EDGE_S * RATE)
    resampler = StreamResampler(round(RATE * pace), RATE)
    samples = np.concatenate([resampler.push(recording.samples[begin:end]), resampler.flush()])
    samples = np.pad(samples, (0, -len(samples) % FRAME))
    data = SOUND.encode(samples)
    loud = _loud_frames(SOUND.decode(data))
    ms = _WINDOW / RATE * 1000
    bounds = (float(loud[0]) * ms, float(loud[-1] + 1) * ms) if loud.size else (0.0, 0.0)
    return Utterance(recording.name, recording.text, data, bounds)


def _loud_frames(samples: Floats) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    whole = len(samples) // _WINDOW
    power = np.square(samples[: whole * _WINDOW].reshape(whole, _WINDOW)).mean(axis=1)
    return np.flatnonzero(power > _LOUD**2)


def name_of(caller: int, number: int) -> str:
    """Words that only this caller's reply of this number has."""
    digits = []
    for value, count in ((caller, 2), (number, 3)):
        for _ in range(count):
            digits.append(_LETTERS[value % len(_LETTERS)])
            value //= len(_LETTERS)
    return " ".join(digits)


def reply_to(caller: int, number: int) -> tuple[str, str]:
    """What an agent answers: the beginning, which is to be spoken at once, and the rest."""
    first = _SENTENCES[(caller + number) % len(_SENTENCES)]
    second = _SENTENCES[(caller + 3 * number + 1) % len(_SENTENCES)]
    return f"Certainly {name_of(caller, number)}", f" again. {first} {second}"


class Microphone:
    """A caller's line: utterances when they are said, faint noise in between. 20 ms a frame.

    It remembers what was sent lately, so that finals can be held against it.
    """

    def __init__(self, seed: int) -> None:
        noise = np.random.default_rng(seed).normal(0.0, 10 ** (_NOISE_DB / 20), RATE)
        self._noise = SOUND.encode(noise.astype(np.float32)) * 2
        self._position = 0
        self._said: list[tuple[int, Utterance]] = []
        """(first sample, what) of the last two utterances."""

    @property
    def speaking(self) -> bool:
        """Not all of the utterance has been sent yet."""
        if not self._said:
            return False
        begin, utterance = self._said[-1]
        return self._position < begin + len(utterance.data) // SOUND.frame_bytes

    def restart(self) -> None:
        """A new session: its first sample comes next."""
        self._position = 0
        self._said.clear()

    def say(self, utterance: Utterance) -> None:
        """With the next frame."""
        self._said = [*self._said[-1:], (self._position, utterance)]

    def speech_ms(self) -> tuple[float, float]:
        """Where the speech of the utterance said last lies, milliseconds of the session."""
        begin, utterance = self._said[-1]
        at = begin * 1000 / RATE
        return at + utterance.speech_ms[0], at + utterance.speech_ms[1]

    def frame(self) -> bytes:
        """The next 20 ms."""
        data = self._bytes(self._position, self._position + FRAME)
        self._position += FRAME
        return data

    def samples(self, start: int, end: int) -> Floats:
        """As :class:`.fingerprints.SentAudio`; what lies further back than two utterances is
        noise."""
        return SOUND.decode(self._bytes(start, end))

    def _bytes(self, start: int, end: int) -> bytes:
        data = bytearray(self._background(start, end))
        size = SOUND.frame_bytes
        for begin, utterance in self._said:
            first = max(start, begin)
            last = min(end, begin + len(utterance.data) // size)
            if first < last:
                piece = utterance.data[(first - begin) * size : (last - begin) * size]
                data[(first - start) * size : (last - start) * size] = piece
        return bytes(data)

    def _background(self, start: int, end: int) -> bytes:
        size, second = SOUND.frame_bytes, len(self._noise) // 2
        at, length = start * size % second, (end - start) * size
        if length <= second:
            return self._noise[at : at + length]
        return (self._noise * (1 + length // second))[at : at + length]
