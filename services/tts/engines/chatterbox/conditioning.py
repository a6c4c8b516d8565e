"""A voice as Chatterbox knows it: five small arrays, computed once from reference audio."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from services.tts.engines.base import EngineError, EngineUnavailable, Floats

TOKEN_RATE = 16_000
"""Hz of what the speech tokenizer and the voice encoder hear."""
SAMPLE_RATE = 24_000
_PROMPT_S = 6
"""Seconds of the reference that the language model hears (manner)."""
_REFERENCE_S = 10
"""Seconds that the audio model hears (timbre)."""
_LEAST_S = 1
_TOKEN_SAMPLES = 960
"""At 24 kHz: two frames of mel."""

_Ints = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class VoiceTensors:
    """The arrays by which the networks are conditioned; never changed once made."""

    speaker: Floats
    """[1, 256] of the voice encoder."""
    prompt_tokens: _Ints
    """[1, up to 150] speech tokens for the language model."""
    reference_tokens: _Ints
    """[1, n] speech tokens for the audio model."""
    reference_mel: Floats
    """[1, 2 * n, 80]: the sound of `reference_tokens`."""
    timbre: Floats
    """[1, 192] x-vector."""

    @classmethod
    def from_mapping(cls, tensors: Mapping[str, npt.NDArray[Any]]) -> "VoiceTensors":
        """From what was stored.

        Raises:
            EngineError: it is no voice of this model.
        """
        missing = set(cls.__slots__) - set(tensors)
        if missing:
            raise EngineError(f"this voice lacks {', '.join(sorted(missing))}; make it again")
        voice = cls(
            speaker=np.array(tensors["speaker"], dtype=np.float32),
            prompt_tokens=np.array(tensors["prompt_tokens"], dtype=np.int32),
            reference_tokens=np.array(tensors["reference_tokens"], dtype=np.int32),
            reference_mel=np.array(tensors["reference_mel"], dtype=np.float32),
            timbre=np.array(tensors["timbre"], dtype=np.float32),
        )
        if voice.reference_mel.shape[1] != 2 * voice.reference_tokens.shape[1]:
            raise EngineError("this voice's mel and tokens are not equally long; make it again")
        return voice

    def as_mapping(self) -> dict[str, npt.NDArray[Any]]:
        return {name: getattr(self, name) for name in self.__slots__}


def read_builtin(path: Path) -> VoiceTensors:
    """The library's `conds.pt`.

    Raises:
        EngineUnavailable: it cannot be read.
    """
    import torch

    unreadable = (OSError, EOFError, KeyError, RuntimeError, ValueError, pickle.UnpicklingError)
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        t3, gen = stored["t3"], stored["gen"]
        return VoiceTensors.from_mapping(
            {
                "speaker": t3["speaker_emb"].reshape(1, -1).float().numpy(),
                "prompt_tokens": t3["cond_prompt_speech_tokens"].reshape(1, -1).numpy(),
                "reference_tokens": gen["prompt_token"].reshape(1, -1).numpy(),
                "reference_mel": gen["prompt_feat"].float().numpy(),
                "timbre": gen["embedding"].reshape(1, -1).float().numpy(),
            }
        )
    except (*unreadable, EngineError) as error:
        raise EngineUnavailable(f"the voice {path} cannot be read: {error}") from error


def make_voice(encoder: Any, s3gen: Any, reference: Floats, sample_rate: int) -> VoiceTensors:
    """Compute a voice from speech.

    Args:
        encoder: the library's VoiceEncoder.
        s3gen: the library's S3Gen.
        reference: [n] mono in [-1, 1].

    Raises:
        EngineError: there is not enough of it.
    """
    import torch

    seconds = len(reference) / sample_rate
    if seconds < _LEAST_S:
        raise EngineError(f"{seconds:.1f} s are too short for a voice; give 6 to 10 s of speech")
    fine = soxr.resample(reference, sample_rate, SAMPLE_RATE)[: _REFERENCE_S * SAMPLE_RATE]
    fine = fine[: len(fine) // _TOKEN_SAMPLES * _TOKEN_SAMPLES]  # two mel frames for each token
    coarse = soxr.resample(reference, sample_rate, TOKEN_RATE)
    with torch.inference_mode():
        heard = s3gen.embed_ref(fine, SAMPLE_RATE, device=s3gen.device)
        prompt, _ = s3gen.tokenizer([coarse[: _PROMPT_S * TOKEN_RATE]], max_len=150)
        speaker = encoder.embeds_from_wavs([coarse], sample_rate=TOKEN_RATE)
    tokens = min(heard["prompt_token"].shape[1], heard["prompt_feat"].shape[1] // 2)
    return VoiceTensors.from_mapping(
        {
            "speaker": speaker.mean(axis=0, keepdims=True),
            "prompt_tokens": prompt.reshape(1, -1).cpu().numpy(),
            "reference_tokens": heard["prompt_token"][:, :tokens].cpu().numpy(),
            "reference_mel": heard["prompt_feat"][:, : 2 * tokens].float().cpu().numpy(),
            "timbre": heard["embedding"].reshape(1, -1).float().cpu().numpy(),
        }
    )
