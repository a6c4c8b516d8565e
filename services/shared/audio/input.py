"""A client's bytes to the samples that the models want."""

from services.shared.audio.framing import ByteAligner
from services.shared.audio.pcm import AudioFormat, Floats
from services.shared.audio.resample import StreamResampler

MODEL_RATE = 16_000


class PcmInput:
    """Raw audio in chunks of any size → float32 mono at `target_rate`."""

    def __init__(self, audio_format: AudioFormat, target_rate: int = MODEL_RATE) -> None:
        self._format = audio_format
        self._aligner = ByteAligner(audio_format.frame_bytes)
        self._resampler = StreamResampler(audio_format.sample_rate, target_rate)

    def push(self, data: bytes) -> Floats:
        """Samples [n] that are ready."""
        return self._resampler.push(self._format.decode(self._aligner.push(data)))

    def flush(self) -> tuple[Floats, int]:
        """The tail [n], and the bytes of a sample that never was finished. May begin anew."""
        return self._resampler.flush(), self._aligner.flush()

    def close(self) -> None:
        """Nothing to free; the decoders of compressed audio have."""
