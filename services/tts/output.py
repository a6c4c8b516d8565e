"""An engine's samples to what a WebSocket client asked for; runs off the event loop."""

from services.shared.audio.pcm import AudioFormat, Encoding
from services.shared.audio.resample import StreamResampler
from services.tts.engines.base import Floats
from services.tts.pacing import FRAME_S


class AudioOutput:
    """One context's converter: stateful, so that pieces join without a seam.

    Args:
        source_rate: Hz of the samples that come.
        sample_rate: Hz of the bytes that go.
        framed: give the bytes in messages of 20 ms; what is less waits for more, or for `drain`.
    """

    def __init__(
        self, source_rate: int, encoding: Encoding, sample_rate: int, *, framed: bool = False
    ) -> None:
        self._resampler = StreamResampler(source_rate, sample_rate)
        self._format = AudioFormat(encoding, sample_rate)
        self._message_bytes = round(FRAME_S * sample_rate) * self._format.frame_bytes
        self._framed = framed
        self._rest = b""

    def push(self, samples: Floats) -> list[bytes]:
        """The messages that are ready."""
        return self._cut(self._format.encode(self._resampler.push(samples)))

    def drain(self) -> list[bytes]:
        """What the converter still holds; more may follow."""
        messages = self._cut(self._format.encode(self._resampler.flush()))
        rest, self._rest = self._rest, b""
        return [*messages, rest] if rest else messages

    def _cut(self, data: bytes) -> list[bytes]:
        if not self._framed:
            return [data] if data else []
        data, size = self._rest + data, self._message_bytes
        whole = len(data) - len(data) % size
        self._rest = data[whole:]
        return [data[start : start + size] for start in range(0, whole, size)]
