"""From a client's bytes to frames with voice probabilities; runs in the thread of its scheduler.

Decoding, resampling and voice activity are never done on the event loop. Sessions share one VAD
run: what has arrived from all of them meanwhile is one batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from services.asr.messages import Encoding, Start
from services.asr.vad.base import FRAME_SAMPLES, SAMPLE_RATE, Floats, VadModel
from services.shared.audio import pcm
from services.shared.audio.input import PcmInput
from services.shared.media.decode import UnreadableAudio
from services.shared.media.stream import OpusPackets, WebmStream
from services.shared.protocol.base import ErrorCode, ProtocolError

_MOST_S = 60
"""Of compressed audio in one job, which is 8 kB: more is no speech, and all would wait for it."""


class _Decoder(Protocol):
    def push(self, data: bytes) -> Floats: ...

    def flush(self) -> tuple[Floats, int]: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Heard:
    """What one session's audio came to."""

    samples: Floats = field(repr=False)
    """[n], 16 kHz mono."""
    probabilities: list[float]
    """[ceil(n / FRAME_SAMPLES)]: is it voice?"""
    received_s: float
    """Duration of the audio that was received for it."""
    leftover_bytes: int = 0
    """After a flush: bytes that were no whole sample."""


class Ear:
    """One session's decoder, its unfinished frame and its VAD state."""

    def __init__(self, start: Start, vad_state: Floats) -> None:
        self.state = vad_state
        self._start = start
        self._decoder = self._new_decoder()
        self._pending: Floats = np.zeros(0, dtype=np.float32)
        self._compressed = start.encoding in (Encoding.OPUS, Encoding.WEBM)
        self.bytes_per_s = _byte_rate(start)
        """Exact for PCM; more than speech usually takes for compressed audio."""

    @property
    def bytes_missing(self) -> int:
        """How much more makes a whole frame; 1 where that depends on the compression."""
        if self._compressed:
            return 1
        missing_s = (FRAME_SAMPLES - len(self._pending)) / SAMPLE_RATE
        return max(1, int(missing_s * self.bytes_per_s))

    def decode(self, chunks: Sequence[bytes], *, flush: bool) -> tuple[Floats, float, int]:
        """New samples with what was pending, the duration received for them, leftover bytes.

        Unless flushed, the samples are whole frames and the rest waits.

        Raises:
            UnreadableAudio: also when some kilobytes hold minutes.
        """
        parts, leftover, most = [self._pending], 0, _MOST_S * SAMPLE_RATE
        for chunk in chunks:
            parts.append(self._decoder.push(chunk))
            most -= len(parts[-1])
            if self._compressed and most < 0:
                raise UnreadableAudio(f"more than {_MOST_S} s of audio in so few bytes")
        if flush:
            tail, leftover = self._decoder.flush()
            parts.append(tail)
        samples = np.concatenate(parts)
        fresh = len(samples) - len(self._pending)
        whole = len(samples) if flush else len(samples) // FRAME_SAMPLES * FRAME_SAMPLES
        self._pending = samples[whole:]
        return samples[:whole], self._received_s(chunks, fresh), leftover

    def close(self) -> None:
        self._decoder.close()

    def _received_s(self, chunks: Sequence[bytes], fresh: int) -> float:
        if self._compressed:
            return fresh / SAMPLE_RATE
        return sum(map(len, chunks)) / self.bytes_per_s

    def _new_decoder(self) -> _Decoder:
        start = self._start
        match start.encoding:
            case Encoding.OPUS:
                return OpusPackets(start.sample_rate, start.channels)
            case Encoding.WEBM:
                return WebmStream()
            case _:
                return PcmInput(_pcm_format(start))


@dataclass(frozen=True, slots=True)
class Hearing:
    """A job: decode these chunks of one session and tell where there is voice."""

    ear: Ear
    chunks: Sequence[bytes] = field(repr=False)
    flush: bool = False


class Listener:
    """Runs batches of :class:`Hearing`; at most one of a session in a batch."""

    def __init__(self, vad: VadModel) -> None:
        self._vad = vad

    def new_ear(self, start: Start) -> Ear:
        return Ear(start, self._vad.new_state())

    def hear(self, batch: Sequence[Hearing]) -> list[Heard | Exception]:
        decoded: list[tuple[Floats, float, int] | Exception] = []
        for job in batch:
            try:
                decoded.append(job.ear.decode(job.chunks, flush=job.flush))
            except UnreadableAudio as error:
                decoded.append(ProtocolError(ErrorCode.UNREADABLE_AUDIO, str(error)))
            except Exception as error:  # noqa: BLE001 - one stream's fault is no other's
                decoded.append(error)
        try:
            voices = self._voices(batch, decoded)
        except Exception as error:  # noqa: BLE001 - raising would have the decoded chunks fed again
            return [error] * len(batch)
        return [
            result
            if isinstance(result, Exception)
            else Heard(result[0], voice, result[1], result[2])
            for result, voice in zip(decoded, voices, strict=True)
        ]

    def _voices(
        self,
        batch: Sequence[Hearing],
        decoded: Sequence[tuple[Floats, float, int] | Exception],
    ) -> list[list[float]]:
        """Probabilities a session; the n-th frames of all sessions go through the VAD together."""
        frames = [
            _frames(np.zeros(0, dtype=np.float32) if isinstance(result, Exception) else result[0])
            for result in decoded
        ]
        voices: list[list[float]] = [[] for _ in batch]
        for step in range(max((len(rows) for rows in frames), default=0)):
            active = [index for index, rows in enumerate(frames) if step < len(rows)]
            probabilities, states = self._vad.probabilities(
                np.stack([frames[index][step] for index in active]),
                [batch[index].ear.state for index in active],
            )
            for index, probability, state in zip(active, probabilities, states, strict=True):
                batch[index].ear.state = state
                voices[index].append(float(probability))
        return voices


def check_audio(start: Start) -> None:
    """Refuse a combination of encoding, rate and channels that cannot be decoded.

    Raises:
        ProtocolError: `unsupported_audio`.
    """
    allowed = {Encoding.OPUS: (8000, 12_000, 16_000, 24_000, 48_000)}.get(start.encoding)
    if allowed and start.sample_rate not in allowed:
        raise ProtocolError(
            ErrorCode.UNSUPPORTED_AUDIO,
            f"sample_rate {start.sample_rate} is none of Opus: {', '.join(map(str, allowed))}",
        )


def _frames(samples: Floats) -> Floats:
    """[n] → [ceil(n / FRAME_SAMPLES), FRAME_SAMPLES], the last frame padded with silence."""
    missing = -len(samples) % FRAME_SAMPLES
    if missing:
        samples = np.concatenate([samples, np.zeros(missing, dtype=np.float32)])
    return samples.reshape(-1, FRAME_SAMPLES)


def _pcm_format(start: Start) -> pcm.AudioFormat:
    return pcm.AudioFormat(pcm.Encoding(start.encoding.value), start.sample_rate, start.channels)


def _byte_rate(start: Start) -> int:
    if start.encoding in (Encoding.OPUS, Encoding.WEBM):
        # Half a second of it, what is decoded at once, holds the largest packet of 120 ms that an
        # encoder makes (7.7 kB, RFC 6716 §3.2) and some seconds of speech.
        return 16_000
    return _pcm_format(start).frame_bytes * start.sample_rate
