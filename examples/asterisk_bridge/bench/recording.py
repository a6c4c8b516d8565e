"""Both directions of a call on one time line, as the caller's ear had them. Sans-I/O."""

import wave
from pathlib import Path

import numpy as np

from services.shared.audio.pcm import Floats, mulaw_table, to_int16

RATE = 8000
_SLACK = RATE * 60 // 1000
"""A packet that is so much off its timestamp's place is put where it came."""


class Recorder:
    """Frames of µ-law by the sample at which they were sent, or heard.

    What was received is placed by its RTP timestamps, beginning where the first packet came: so
    much an ear with a small jitter buffer hears. Where the stream slips it is placed anew, which
    shows as a gap, as it would be heard.
    """

    def __init__(self, longest_s: float) -> None:
        self._sent = np.zeros(round(longest_s * RATE), dtype=np.float32)
        self._heard = np.zeros_like(self._sent)
        self._anchor: int | None = None
        self.slips = 0
        self.end = 0

    def sent(self, at: int, payload: bytes) -> None:
        """`at`: samples since the beginning of the call."""
        self._place(self._sent, at, payload)

    def heard(self, at: int, timestamp: int, payload: bytes) -> None:
        if self._anchor is None:
            self._anchor = at - timestamp
        place = self._anchor + timestamp
        if abs(at - place) > _SLACK:
            self.slips += 1
            self._anchor = at - timestamp
            place = at
        self._place(self._heard, place, payload)

    @property
    def caller(self) -> Floats:
        """What was said into the phone [n]."""
        return self._sent[: self.end]

    @property
    def agent(self) -> Floats:
        """What came out of it [n]."""
        return self._heard[: self.end]

    def write(self, path: Path) -> None:
        """Stereo WAV: the caller left, the agent right."""
        both = np.stack([to_int16(self.caller), to_int16(self.agent)], axis=1)
        with wave.open(str(path), "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(both.astype("<i2").tobytes())

    def _place(self, track: Floats, at: int, payload: bytes) -> None:
        samples = mulaw_table()[np.frombuffer(payload, dtype=np.uint8)]
        begin, end = max(0, at), min(at + len(samples), len(track))
        if begin < end:
            track[begin:end] = samples[begin - at : end - at]
            self.end = max(self.end, end)
