"""Speaks with an acoustic model and a vocoder, whatever they run on."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Protocol

import numpy as np
import numpy.typing as npt

from services.tts.engines.base import AudioPiece, Floats, SynthesisRequest
from services.tts.engines.fastpitch.mel import MelSettings
from services.tts.engines.fastpitch.script import Run, ScriptReader
from services.tts.engines.interrupt import check_interrupt
from services.tts.engines.loudness import amplified
from services.tts.engines.script import take_begun

Ints = npt.NDArray[np.int64]
FIRST_WINDOWS = (16, 32, 64)
WINDOW = 128
"""Frames (11.6 ms each at 22050 Hz) vocoded at a time: little for the first piece to come soon,
then more, yet never so much that other streams wait long."""

_LEAST = 8
"""Fewer frames than this are not worth a window of their own at the end."""


class Acoustic(Protocol):
    """FastPitch in two halves; between them the durations are applied."""

    def encode(self, ids: tuple[int, ...], speaker: int) -> tuple[Floats, Floats]:
        """Features [tokens, channels] and durations [tokens] in frames, not yet rounded."""
        ...

    def decode(self, features: Floats, speaker: int) -> Floats:
        """Mel spectrogram [bands, frames] of features [frames, channels]."""
        ...


@dataclass(frozen=True, slots=True)
class Vocoder:
    """A network that makes audio of a mel spectrogram."""

    run: Callable[[Floats], Floats]
    """[bands, frames] → [frames * hop] in [-1, 1]."""
    mel: MelSettings
    reach: int
    """Frames on each side that a frame's audio depends on."""

    def audio(self, mel: Floats, windows: Iterator[int]) -> Iterator[Floats]:
        """Audio of `mel` in pieces of as many frames as `windows` says.

        Each window is run with all the frames that reach into it, so the pieces joined are what one
        run over all frames gives.
        """
        frames, at = mel.shape[1], 0
        while at < frames:
            end = at + next(windows)
            end = end if end + _LEAST < frames else frames
            first, last = max(0, at - self.reach), min(frames, end + self.reach)
            check_interrupt()
            out = self.run(np.ascontiguousarray(mel[:, first:last]))
            yield out[(at - first) * self.mel.hop : (end - first) * self.mel.hop].copy()
            at = end


@dataclass(frozen=True, slots=True)
class Speaker:
    """One voice: a reader of text, the networks, a number in a model of several speakers."""

    reader: ScriptReader
    acoustic: Acoustic
    vocoder: Vocoder
    number: int = 0
    gain_db: float = 0.0

    def speak(self, request: SynthesisRequest) -> Iterator[AudioPiece]:
        """Equal requests give equal audio; there is nothing random in it."""
        rate = self.vocoder.mel.sample_rate
        windows = chain(FIRST_WINDOWS, repeat(WINDOW))
        sent = 0
        for run in self.reader.runs(request.text, request.words):
            mel, frames = self._mel(run, request.speed)
            words = deque(run.word_times(frames * self.vocoder.mel.hop, sent, rate))
            for samples in self.vocoder.audio(mel, windows):
                sent += len(samples)
                begun = take_begun(words, sent * 1000 // rate)
                yield AudioPiece(amplified(samples, self.gain_db), begun)

    def _mel(self, run: Run, pace: float) -> tuple[Floats, Ints]:
        """The run's mel spectrogram and the frames of each token."""
        check_interrupt()
        features, durations = self.acoustic.encode(run.tokens.ids, self.number)
        frames = whole_frames(durations, pace)
        if not frames.any():
            raise ValueError("the model gives this text no time at all")
        check_interrupt()
        return self.acoustic.decode(np.repeat(features, frames, axis=0), self.number), frames


def whole_frames(durations: Floats, pace: float) -> Ints:
    """Frames of each token at a pace, rounded as NeMo does it: 2.0 is twice as fast."""
    paced = durations.astype(np.float32) / np.float32(pace) + np.float32(0.5)
    frames: Ints = np.floor(paced).astype(np.int64)
    return frames
