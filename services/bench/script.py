"""What one simulated caller will say: recordings with natural pauses between them. Pure."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from services.bench.corpus import Recording
from services.bench.wire import Wire

_LEAD_S = (0.5, 2.5)
"""Before the first word; different for each caller, so that they do not speak in step."""
_PAUSE_S = (1.0, 1.6)
_TAIL_S = 3.5
"""After the last word: longer than any service waits for more."""
_NOISE_DB = -70.0
"""Line noise in pauses: quieter than any room, but not digital zeros."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """One recording in a call; times in seconds since the call's first sample."""

    recording: str
    text: str
    language: str
    start_s: float
    """True start of speech."""
    end_s: float
    """True end of speech."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording, encoded once for all callers."""

    recording: Recording
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Pause:
    samples: int
    seed: int


@dataclass(frozen=True, slots=True)
class Script:
    """A whole call."""

    wire: Wire
    pieces: tuple[Clip | Pause, ...]
    spoken: tuple[Spoken, ...]
    duration_s: float

    def chunks(self, chunk_ms: int) -> Iterator[bytes]:
        """The call's audio in chunks of `chunk_ms`; the last may be shorter."""
        size = self.wire.format.sample_rate * chunk_ms // 1000 * self.wire.format.frame_bytes
        waiting = b""
        for piece in self.pieces:
            waiting += self._bytes(piece)
            whole = len(waiting) - len(waiting) % size
            for at in range(0, whole, size):
                yield waiting[at : at + size]
            waiting = waiting[whole:]
        if waiting:
            yield waiting

    def _bytes(self, piece: Clip | Pause) -> bytes:
        if isinstance(piece, Clip):
            return piece.data
        return self.wire.noise(piece.samples, _NOISE_DB, piece.seed)


@dataclass(frozen=True, slots=True)
class Extent:
    """How much one caller says; neither bound: every recording once."""

    files: int | None = None
    minutes: float | None = None

    def enough(self, said: int, seconds: float, corpus: int) -> bool:
        if self.minutes is not None and said and seconds >= self.minutes * 60:
            return True
        files = corpus if self.files is None and self.minutes is None else self.files
        return files is not None and said >= files


def write_scripts(
    clips: Sequence[Clip], wire: Wire, callers: int, extent: Extent, seed: int
) -> list[Script]:
    """One script a caller.

    All walk the same shuffled circle, from starting points spread evenly over it: together they
    cover the corpus even when each says only a part of it, and no two say the same at once.
    """
    order = list(clips)
    random.Random(seed).shuffle(order)
    return [
        _write(order, caller * len(order) // callers, wire, extent, seed * 1000 + caller)
        for caller in range(callers)
    ]


def _write(order: Sequence[Clip], first: int, wire: Wire, extent: Extent, seed: int) -> Script:
    rng = random.Random(seed)
    rate, frame_bytes = wire.format.sample_rate, wire.format.frame_bytes
    pieces: list[Clip | Pause] = []
    spoken: list[Spoken] = []
    at = 0

    def pause(seconds: float) -> int:
        pieces.append(Pause(round(seconds * rate), rng.getrandbits(32)))
        return at + round(seconds * rate)

    at = pause(rng.uniform(*_LEAD_S))
    while True:
        clip = order[(first + len(spoken)) % len(order)]
        pieces.append(clip)
        spoken.append(_spoken(clip.recording, at / rate))
        at += len(clip.data) // frame_bytes
        if extent.enough(len(spoken), at / rate, len(order)):
            break
        at = pause(rng.uniform(*_PAUSE_S))
    at = pause(_TAIL_S + (-at % (rate // 50)) / rate)  # whole 20 ms frames, as phones send
    return Script(wire, tuple(pieces), tuple(spoken), at / rate)


def _spoken(recording: Recording, at_s: float) -> Spoken:
    return Spoken(
        recording=recording.name,
        text=recording.text,
        language=recording.language,
        start_s=at_s + recording.speech_start_s,
        end_s=at_s + recording.speech_end_s,
    )
