"""Is a recording fit to make a voice of, and which part of it is speech? Pure.

The limits are of the kind that one hears at once; what passes may still be mediocre. Whether two
people speak is not checked: without a model of speakers that would be a guess.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from services.shared.audio.resample import StreamResampler
from services.shared.protocol.base import ErrorCode, ProtocolError
from services.shared.vad.base import FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE, Floats, VadModel

REFERENCE_RATE = 24_000
"""Hz of the audio that is kept."""

_START, _STOP = 0.5, 0.35
"""Probabilities of speech at which it begins and ends."""
_SHORTEST_MS = 250
"""Speech that is shorter is a click or a cough."""
_MARGIN_MS = 100
"""Kept before and after speech: breath, and consonants that the detector missed."""
_PAUSE_MS = 500
"""Longer pauses are cut to this."""
_FADE_MS = 5
_QUIET_DB = -45.0
"""RMS of speech; below it, noise of the recorder comes up with the voice."""
_SILENT_DB = -60.0
_NEAR_PEAK, _CLIPPED = 0.98, 2e-3
"""Part of the samples of speech that lies so near to the peak. Speech reaches it rarely: at most
3e-4 in the recordings that we have; with 10 dB too much, 1e-2 and more do."""
_QUIETEST = 5
"""Percent of the short frames that are taken for noise alone."""
_SHORT_FRAME = FRAME_SAMPLES // 4
"""8 ms: as long as the silence of a stop consonant."""
_MAX_SNR_DB = 60.0

Bools = npt.NDArray[np.bool_]
Levels = npt.NDArray[np.float64]
"""RMS of each frame."""


@dataclass(frozen=True, slots=True)
class ReferenceLimits:
    """What a recording must be."""

    min_speech_s: float = 3.0
    max_speech_s: float = 60.0
    min_snr_db: float = 15.0


@dataclass(frozen=True, slots=True)
class Reference:
    """Speech to make a voice of."""

    samples: Floats = field(repr=False)
    """[n] at REFERENCE_RATE, long pauses cut."""
    speech_s: float
    snr_db: float


def take_reference(samples: Floats, vad: VadModel, limits: ReferenceLimits) -> Reference:
    """Find the speech in a recording and judge it. Blocks: about 10 ms for each second of audio.

    Args:
        samples: [n] mono in [-1, 1] at REFERENCE_RATE.
        vad: loaded; nobody else may be using it.

    Raises:
        ProtocolError: with a code that says what is wrong with the recording.
    """
    frames = _frames(samples)
    levels = np.sqrt(np.mean(np.square(frames, dtype=np.float64), axis=1)) if len(frames) else None
    if levels is None or _db(float(levels.max())) < _SILENT_DB:
        raise _refusal(ErrorCode.AUDIO_TOO_QUIET, "the recording is silent")
    voiced = _voiced(_probabilities(frames, vad))
    speech_s = float(voiced.sum()) * FRAME_MS / 1000
    _check_length(speech_s, levels, limits)
    spoken_db = _db(float(np.sqrt(np.mean(levels[voiced] ** 2))))
    if spoken_db < _QUIET_DB:
        raise _refusal(
            ErrorCode.AUDIO_TOO_QUIET,
            f"the speech is at {spoken_db:.0f} dBFS; it must be above {_QUIET_DB:.0f}, "
            "better at -20",
        )
    _check_clipping(samples, voiced)
    snr_db = _snr_db(frames, voiced)
    if snr_db < limits.min_snr_db:
        raise _refusal(
            ErrorCode.AUDIO_TOO_NOISY,
            f"speech is only {snr_db:.0f} dB above the noise; "
            f"at least {limits.min_snr_db:.0f} dB are needed",
        )
    return Reference(_cut(samples, voiced), round(speech_s, 2), snr_db)


def _refusal(code: ErrorCode, sentence: str) -> ProtocolError:
    return ProtocolError(code, f'field "file": {sentence}')


def _check_length(
    speech_s: float, levels: npt.NDArray[np.float64], limits: ReferenceLimits
) -> None:
    audible_s = float((levels > 10 ** (_QUIET_DB / 20)).sum()) * FRAME_MS / 1000
    if speech_s < limits.min_speech_s and audible_s >= limits.min_speech_s > 3 * speech_s:
        raise _refusal(
            ErrorCode.NO_SPEECH,
            f"{speech_s:.1f} s of speech were found in {audible_s:.0f} s of sound: "
            "is it music or noise?",
        )
    if speech_s < limits.min_speech_s:
        raise _refusal(
            ErrorCode.AUDIO_TOO_SHORT,
            f"it holds {speech_s:.1f} s of speech; at least {limits.min_speech_s:g} s are needed",
        )
    if speech_s > limits.max_speech_s:
        raise _refusal(
            ErrorCode.AUDIO_TOO_LONG,
            f"it holds {speech_s:.0f} s of speech; at most {limits.max_speech_s:g} s are taken: "
            "send the best part",
        )


def _check_clipping(samples: Floats, voiced: Bools) -> None:
    size = FRAME_MS * REFERENCE_RATE // 1000
    count = min(len(voiced), len(samples) // size)
    spoken = np.abs(samples[: count * size].reshape(count, size)[voiced[:count]])
    peak = float(spoken.max())
    if peak > 0 and float(np.mean(spoken >= _NEAR_PEAK * peak)) > _CLIPPED:
        raise _refusal(
            ErrorCode.AUDIO_CLIPPED,
            "the speech is clipped: it was recorded too loud; turn the microphone down and "
            "record it again",
        )


def _frames(samples: Floats) -> Floats:
    """[frames, FRAME_SAMPLES] as the detector wants them."""
    resampler = StreamResampler(REFERENCE_RATE, SAMPLE_RATE, low_latency=False)
    wanted = np.concatenate([resampler.push(samples), resampler.flush()])
    count = len(wanted) // FRAME_SAMPLES
    return wanted[: count * FRAME_SAMPLES].reshape(count, FRAME_SAMPLES)


def _probabilities(frames: Floats, vad: VadModel) -> Iterator[float]:
    state = vad.new_state()
    for frame in frames:
        [probability], [state] = vad.probabilities(frame[np.newaxis], [state])
        yield float(probability)


def _voiced(probabilities: Iterator[float]) -> Bools:
    """Which frames are speech, with hysteresis; what is too short for a word is none."""
    speaking, marks = False, []
    for probability in probabilities:
        speaking = probability >= (_STOP if speaking else _START)
        marks.append(speaking)
    voiced = np.array(marks, dtype=np.bool_)
    for start, end in _runs(voiced):
        if (end - start) * FRAME_MS < _SHORTEST_MS:
            voiced[start:end] = False
    return voiced


def _runs(marks: Bools) -> list[tuple[int, int]]:
    """Begin and end of each stretch of marked frames."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], marks.astype(np.int8), [0]])))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _snr_db(frames: Floats, voiced: Bools) -> float:
    """How far speech stands above what is heard when it is quietest: stops, breaths, pauses.

    Not above the pauses alone: in tight recordings there are none, and what the detector missed of
    the speech would count as noise.
    """
    near = voiced.copy()
    for start, end in _runs(voiced):
        near[max(0, start - _MARGIN_MS // FRAME_MS) : end + _MARGIN_MS // FRAME_MS] = True
    powers = np.mean(np.square(frames[near].reshape(-1, _SHORT_FRAME), dtype=np.float64), axis=1)
    speech = float(np.mean(np.square(frames[voiced], dtype=np.float64)))
    noise = max(float(np.percentile(powers, _QUIETEST)), 1e-12)
    return round(min(_MAX_SNR_DB, 10 * float(np.log10(max(speech - noise, 1e-12) / noise))), 1)


def _cut(samples: Floats, voiced: Bools) -> Floats:
    """The speech with its margins; pauses stay, long ones shortened, so that it keeps its pace."""
    scale = FRAME_MS * REFERENCE_RATE // 1000
    margin = _MARGIN_MS * REFERENCE_RATE // 1000
    pause = _PAUSE_MS * REFERENCE_RATE // 1000
    parts: list[list[int]] = []
    for start, end in _runs(voiced):
        first, last = max(0, start * scale - margin), min(len(samples), end * scale + margin)
        if parts and first - parts[-1][1] < pause:
            parts[-1][1] = last
        else:
            parts.append([first, last])
    gap = np.zeros(pause - 2 * margin, dtype=np.float32)
    pieces = [piece for span in parts for piece in (gap, _faded(samples[slice(*span)]))]
    return np.concatenate(pieces[1:])


def _faded(part: Floats) -> Floats:
    """Without a click at its ends."""
    length = min(len(part) // 2, _FADE_MS * REFERENCE_RATE // 1000)
    ramp = np.linspace(0, 1, length, dtype=np.float32)
    faded = part.copy()
    faded[:length] *= ramp
    faded[len(faded) - length :] *= ramp[::-1]
    return faded


def _db(level: float) -> float:
    return float(20 * np.log10(max(level, 1e-10)))
