"""How much the speech sounds like the voice that it was cloned from: Resemblyzer's encoder.

Optional: `pip install resemblyzer` brings its weights and torch. Cosine of two embeddings, for
scale: the two halves of one recording have 0.82, that recording and five prompts of another person
0.43. Compare with the same encoder only.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from services.bench.corpus import CorpusError
from services.bench.tts_results import Similarity
from services.shared.audio.pcm import Floats
from services.shared.media.decode import AudioTooLong, UnreadableAudio, decode_audio

RATE = 16_000
_MAX_REFERENCE_S = 300.0
_SHORTEST_S = 1.6
"""What the encoder listens to at a time; shorter speech says little of a voice."""


def check_encoder() -> None:
    """Raises CorpusError: the encoder is not installed."""
    if importlib.util.find_spec("resemblyzer") is None:
        raise CorpusError(
            "--similarity needs a speaker encoder, which is not part of the default install: "
            "uv pip install resemblyzer (it brings torch)"
        )


def read_reference(path: Path) -> Floats:
    """Mono samples at 16 kHz. Raises CorpusError."""
    try:
        return decode_audio(path, sample_rate=RATE, max_duration_s=_MAX_REFERENCE_S)
    except (OSError, UnreadableAudio, AudioTooLong) as error:
        raise CorpusError(f"reference {path}: {error}") from error


def measure_similarity(reference: Floats, speech: Sequence[Floats]) -> Similarity | None:
    """Compare each utterance with the reference. Blocks: for a thread.

    Args:
        speech: utterances, mono at 16 kHz; those too short to judge are passed over.

    Returns:
        None when none was long enough.
    """
    from resemblyzer import VoiceEncoder, preprocess_wav

    encoder = VoiceEncoder("cpu", verbose=False)
    return compare(encoder, preprocess_wav, reference, speech)


def compare(
    encoder: Any, prepare: Any, reference: Floats, speech: Sequence[Floats]
) -> Similarity | None:
    """As `measure_similarity`, with an encoder that is loaded already."""
    wanted = encoder.embed_utterance(prepare(reference))
    long_enough = [each for each in speech if len(each) >= _SHORTEST_S * RATE]
    if not long_enough:
        return None
    found = [float(encoder.embed_utterance(prepare(each)) @ wanted) for each in long_enough]
    return Similarity(
        mean=round(float(np.mean(found)), 3),
        p5=round(float(np.percentile(found, 5)), 3),
        utterances=len(found),
    )
