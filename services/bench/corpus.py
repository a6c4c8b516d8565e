"""The recordings that a benchmark plays, and where in each the speech truly begins and ends."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from services.shared.audio.pcm import Floats
from services.shared.media.decode import UnreadableAudio, decode_audio

RATE = 16_000
_WINDOW = RATE // 100
_GATE = 10 ** (-40 / 20)
_LONGEST_S = 600.0
_BUNDLED = ("services/cli/recordings", "tests/data/speech")


class CorpusError(Exception):
    """The corpus cannot be used; the sentence names file and line."""


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore")

    audio: str
    text: str
    language: str = "en"


@dataclass(frozen=True, slots=True)
class Recording:
    """One utterance with its transcript."""

    name: str
    samples: Floats = field(repr=False)
    """[n], mono, 16 kHz."""
    text: str
    language: str
    speech_start_s: float
    speech_end_s: float

    @property
    def seconds(self) -> float:
        return len(self.samples) / RATE


def speech_bounds(samples: Floats) -> tuple[float, float]:
    """Seconds at which speech truly begins and ends, measured offline and by energy alone.

    The file's loudest 10 ms window is the peak; speech reaches from the first to the end of the
    last window whose RMS is not more than 40 dB below it. Independent of any service's VAD.
    """
    windows = len(samples) // _WINDOW
    if windows == 0:
        return 0.0, len(samples) / RATE
    energy = np.square(samples[: windows * _WINDOW].reshape(windows, _WINDOW)).mean(axis=1)
    loud = np.flatnonzero(energy >= energy.max() * _GATE**2)
    return float(loud[0]) * _WINDOW / RATE, float(loud[-1] + 1) * _WINDOW / RATE


def bundled_corpus() -> Path:
    """The recordings committed in the project.

    Raises:
        CorpusError: when this is not a checkout that has them.
    """
    root = Path(__file__).resolve().parents[2]
    for folder in _BUNDLED:
        for found in sorted((root / folder).glob("*.jsonl")):
            return found
    raise CorpusError(
        f"no bundled recordings in {' or '.join(_BUNDLED)}; name a JSONL with --corpus"
    )


def load_corpus(path: Path) -> list[Recording]:
    """Read a JSONL of `audio` (relative to the file), `text` and `language`.

    Raises:
        CorpusError: nothing there, a line that is not that, or audio that cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise CorpusError(f"corpus {path} cannot be read: {error.strerror}") from None
    found = [
        _load(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()
    ]
    if not found:
        raise CorpusError(f"corpus {path} has no recordings")
    return found


def _load(path: Path, number: int, line: str) -> Recording:
    try:
        entry = _Line.model_validate(json.loads(line))
        samples = decode_audio(path.parent / entry.audio, max_duration_s=_LONGEST_S)
    except (ValueError, ValidationError, OSError, UnreadableAudio) as error:
        raise CorpusError(f"{path} line {number}: {error}") from None
    start, end = speech_bounds(samples)
    return Recording(Path(entry.audio).stem, samples, entry.text, entry.language, start, end)
