"""The yardstick: faster-whisper's own `transcribe` over the same recordings with the same model.

Runs in a process of its own, while no service runs, so that neither disturbs the other.
"""

import asyncio
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from services.asr.config import EngineConfig
from services.bench.corpus import Recording
from services.bench.results import OfflineResult, OfflineText, Wer
from services.bench.wer import Scorer, WordErrors
from services.bench.wire import Wire
from services.shared.models.store import ModelStore

BEAMS = (1, 5)


@dataclass(frozen=True, slots=True)
class OfflineJob:
    """What the process is sent."""

    model_path: str
    device: str
    compute_type: str
    cpu_threads: int
    wire: Wire
    recordings: tuple[Recording, ...]


async def measure_offline(
    engine: EngineConfig, recordings: Sequence[Recording], wire: Wire, scorer: Scorer
) -> OfflineResult:
    """Transcribe every recording at each beam, and score.

    Raises:
        ModelError: the model is not here.
    """
    job = OfflineJob(
        model_path=str(_model_path(engine.model)),
        device=engine.device,
        compute_type=engine.compute_type,
        cpu_threads=engine.cpu_threads,
        wire=wire,
        recordings=tuple(recordings),
    )
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as pool:
        texts = await asyncio.get_running_loop().run_in_executor(pool, _transcribe_all, job)
    return _scored(engine.model, recordings, texts, scorer)


def _model_path(model: str) -> Path:
    """A folder given as a path, else a model of the catalogue."""
    path = Path(model).expanduser()
    return path if path.is_dir() else ModelStore().require(model)


_Texts = dict[str, dict[str, tuple[str, float]]]
"""By recording, by beam: text and seconds of computing."""


def _transcribe_all(job: OfflineJob) -> _Texts:
    from faster_whisper import WhisperModel

    model = WhisperModel(
        job.model_path,
        device=job.device,
        compute_type=job.compute_type,
        cpu_threads=job.cpu_threads,
        local_files_only=True,
    )
    texts: _Texts = {}
    for recording in job.recordings:
        audio = job.wire.heard(recording.samples)
        for beam in BEAMS:
            began = time.perf_counter()
            segments, _ = model.transcribe(audio, beam_size=beam, language=recording.language)
            text = " ".join(segment.text.strip() for segment in segments)
            took = time.perf_counter() - began
            texts.setdefault(recording.name, {})[f"beam {beam}"] = (text, took)
    return texts


def _scored(
    model: str, recordings: Sequence[Recording], texts: _Texts, scorer: Scorer
) -> OfflineResult:
    beams = [f"beam {beam}" for beam in BEAMS]
    errors = {beam: WordErrors() for beam in beams}
    results: dict[str, dict[str, OfflineText]] = {}
    for recording in recordings:
        for beam in beams:
            text, took = texts[recording.name][beam]
            score = scorer.score(recording.text, text, recording.language)
            errors[beam] += score
            results.setdefault(recording.name, {})[beam] = OfflineText(
                text=text, errors=score.errors, seconds=round(took, 3)
            )
    spoken_s = sum(recording.seconds for recording in recordings)
    return OfflineResult(
        model=model,
        wer={beam: Wer.of(errors[beam]) for beam in beams},
        real_time_factor={
            beam: round(sum(each[beam].seconds for each in results.values()) / spoken_s, 4)
            for beam in beams
        },
        texts=results,
    )
