"""An engine's samples to what a WebSocket client asked for; runs off the event loop."""

from services.shared.audio.pcm import AudioFormat, Encoding
from services.shared.audio.resample import StreamResampler
from services.tts.engines.base import Floats


class AudioOutput:
    """One context's converter: stateful, so that pieces join without a seam."""

    def __init__(self, source_rate: int, encoding: Encoding, sample_rate: int) -> None:
        self._resampler = StreamResampler(source_rate, sample_rate)
        self._format = AudioFormat(encoding, sample_rate)

    def push(self, samples: Floats) -> bytes:
        return self._format.encode(self._resampler.push(samples))

    def drain(self) -> bytes:
        """What the resampler still holds; more may follow."""
        return self._format.encode(self._resampler.flush())
