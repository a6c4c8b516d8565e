"""How well the speech is understood and how it sounds: our own ASR and a public MOS predictor.

Runs in a process of its own, after the service has stopped, so that neither disturbs the other.
"""

import asyncio
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import numpy as np

from services.bench.results import Wer
from services.bench.tts_results import Quality, SpokenSentence
from services.bench.tts_spelling import plain_spelling
from services.bench.wer import Scorer, WordErrors, count_errors
from services.shared.audio.pcm import Floats
from services.shared.models.store import ModelStore
from services.tts.normalisation.base import replaced
from services.tts.normalisation.languages import normaliser_for

RATE = 16_000
_BEAM = 5
_MOS_SAMPLES = int(9.01 * RATE)
"""What the predictor listens to at a time."""
_OVERALL = (-0.06766283, 1.11546468, 0.04602535)
"""From the network's figure to the scale of listeners, as its authors fitted it."""


@dataclass(frozen=True, slots=True)
class Speech:
    """One sentence as it was spoken."""

    text: str
    samples: Floats = field(repr=False)
    """[n], mono, 16 kHz."""


async def measure_quality(
    speech: Sequence[Speech], asr_model: str, language: str, scorer: Scorer
) -> Quality:
    """Transcribe and judge every sentence.

    Raises:
        ModelError: the ASR model is not here.
    """
    folder = str(ModelStore().require(asr_model))
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as pool:
        judged = await asyncio.get_running_loop().run_in_executor(
            pool, _judge_all, folder, language, tuple(speech)
        )
    total = WordErrors()
    sentences = []
    for spoken, (heard, mos) in zip(speech, judged, strict=True):
        score = count_errors(
            in_one_spelling(spoken.text, language, scorer), in_one_spelling(heard, language, scorer)
        )
        total += score
        sentences.append(
            SpokenSentence(
                text=spoken.text,
                heard=heard,
                errors=score.errors,
                audio_s=round(len(spoken.samples) / RATE, 2),
                mos=None if mos is None else round(mos, 2),
            )
        )
    opinions = [each.mos for each in sentences if each.mos is not None]
    return Quality(
        asr_model=asr_model,
        wer=Wer.of(total),
        mos_mean=round(float(np.mean(opinions)), 2) if opinions else None,
        mos_p5=round(float(np.percentile(opinions, 5)), 2) if opinions else None,
        sentences=tuple(sentences),
    )


def in_one_spelling(text: str, language: str, scorer: Scorer) -> str:
    """`text` as it sounds: in words, through Whisper's normaliser, its numbers as digits."""
    spoken = replaced(text, normaliser_for(language)(text, ()))
    return plain_spelling(scorer.normalise(spoken, language))


def _judge_all(
    folder: str, language: str, speech: tuple[Speech, ...]
) -> list[tuple[str, float | None]]:
    from faster_whisper import WhisperModel

    model = WhisperModel(folder, device="cpu", compute_type="int8", local_files_only=True)
    predictor = open_predictor()
    return [
        (_transcribe(model, each.samples, language), opinion(predictor, each.samples))
        for each in speech
    ]


def _transcribe(model: Any, samples: Floats, language: str) -> str:
    segments, _ = model.transcribe(samples, beam_size=_BEAM, language=language)
    return " ".join(segment.text.strip() for segment in segments)


def open_predictor() -> Any:
    """DNSMOS P.835. Its package's own code would need librosa for another of its models."""
    import onnxruntime

    weights = resources.files("speechmos").joinpath("dnsmos_models/sig_bak_ovr.onnx").read_bytes()
    return onnxruntime.InferenceSession(weights, providers=["CPUExecutionProvider"])


def opinion(predictor: Any, samples: Floats) -> float | None:
    """Overall quality, 1 to 5; short speech is repeated, long judged second by second."""
    if not len(samples):
        return None
    repeats = -(-_MOS_SAMPLES // len(samples))
    audio = np.tile(samples, repeats)
    scores = []
    for start in range(0, len(audio) - _MOS_SAMPLES + 1, RATE):
        window = audio[np.newaxis, start : start + _MOS_SAMPLES]
        [[[_, _, overall]]] = predictor.run(None, {"input_1": window})
        scores.append(float(np.polyval(_OVERALL, overall)))
    return float(np.mean(scores))
