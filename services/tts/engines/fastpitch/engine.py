"""FastPitch and BigVGAN on torch: NeMo's and NVIDIA's own files, on CUDA or the CPU."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from services.tts.engines.base import (
    AudioPiece,
    EngineUnavailable,
    Floats,
    SynthesisRequest,
    Voice,
)
from services.tts.engines.fastpitch.bigvgan import (
    CONFIG,
    WEIGHTS,
    find_vocoder,
    load_bigvgan,
    reach,
    read_vocoder_config,
)
from services.tts.engines.fastpitch.mel import bigvgan_mel, check_match
from services.tts.engines.fastpitch.nemo import NemoFastPitch, find_fastpitch, load_fastpitch
from services.tts.engines.fastpitch.script import ScriptReader
from services.tts.engines.fastpitch.speech import Speaker, Vocoder
from services.tts.engines.fastpitch.tokens import Tokeniser
from services.tts.engines.fastpitch.voices import (
    WARM_UP,
    SpeakingVoice,
    capabilities,
    check_speaker,
    speak,
)
from services.tts.engines.interrupt import check_interrupt
from services.tts.engines.versions import version_of


@dataclass(frozen=True, slots=True)
class FastPitchSource:
    """One voice and the models that speak in it."""

    id: str
    name: str
    model: str
    """Path of a `.nemo` file, or `owner/name@commit` of the hub."""
    vocoder: str
    """Folder with BigVGAN's `config.json` and `bigvgan_generator.pt`, or `owner/name@commit`."""
    language: str
    licence: str
    sample: str | None = None
    speaker: int = 0
    gain_db: float = 0.0


class FastPitchEngine:
    """Several voices in one process; those of equal models share them.

    Args:
        sources: the voices, the favourite first.
        device: `auto` (CUDA where there is one), `cpu`, `cuda`, `cuda:1`.
        cuda_kernel: BigVGAN's fused activation, which is compiled by nvcc when it is loaded.
        threads: CPU threads of torch in this process.
        lanes: syntheses at the same time.
        max_characters: longest text of one request.
    """

    name = "fastpitch"

    def __init__(
        self,
        sources: Sequence[FastPitchSource],
        *,
        device: str = "auto",
        cuda_kernel: bool = False,
        threads: int = 2,
        lanes: int = 1,
        max_characters: int = 1000,
    ) -> None:
        if not sources:
            raise EngineUnavailable("the fastpitch engine needs at least one voice")
        self._sources = tuple(sources)
        self._device = device
        self._cuda_kernel = cuda_kernel
        self._threads = threads
        self._voices: dict[str, SpeakingVoice] = {}
        self.capabilities = capabilities(
            (source.language for source in sources), max_characters, lanes
        )

    def load(self) -> None:
        device = _open_device(self._device, self._threads)
        acoustic = cache(lambda path: load_fastpitch(path, device))
        vocoder = cache(lambda path: _load_vocoder(path, device, self._cuda_kernel))
        self._voices = {source.id: _open(source, acoustic, vocoder) for source in self._sources}

    def warm_up(self) -> None:
        for source in self._sources:
            for text in WARM_UP:
                for _ in self.synthesize(SynthesisRequest(text, source.id)):
                    pass

    def close(self) -> None:
        self._voices = {}

    def voices(self) -> tuple[Voice, ...]:
        return tuple(one.voice for one in self._voices.values())

    def synthesize(self, request: SynthesisRequest) -> Generator[AudioPiece, None, None]:
        return speak(self._voices, self.capabilities, request)


class TorchAcoustic:
    """A FastPitch model; holds nothing of a request."""

    def __init__(self, model: NemoFastPitch, device: str) -> None:
        self._model = model
        self._device = device

    def encode(self, ids: tuple[int, ...], speaker: int) -> tuple[Floats, Floats]:
        import torch

        tokens = torch.tensor([ids], dtype=torch.int64, device=self._device)
        features, durations = _run(self._model.encoder, tokens, self._speaker(speaker))
        return features[0].cpu().numpy(), durations[0].cpu().numpy()

    def decode(self, features: Floats, speaker: int) -> Floats:
        import torch

        frames = torch.from_numpy(features[np.newaxis]).to(self._device)
        mel: Floats = _run(self._model.decoder, frames, self._speaker(speaker))[0].cpu().numpy()
        return mel

    def _speaker(self, number: int) -> Any:
        import torch

        return torch.tensor([number], dtype=torch.int64, device=self._device)


def _open(
    source: FastPitchSource,
    acoustic: Callable[[Path], NemoFastPitch],
    vocoder: Callable[[Path], Vocoder],
) -> SpeakingVoice:
    path, folder = find_fastpitch(source.model), find_vocoder(source.vocoder)
    model, sound = acoustic(path), vocoder(folder)
    check_match(model.mel, sound.mel, (source.model, source.vocoder))
    check_speaker(source.speaker, model.speakers, source.model)
    files = (path, folder / CONFIG, folder / WEIGHTS)
    voice = Voice(
        id=source.id,
        name=source.name,
        language=source.language,
        sample_rate=sound.mel.sample_rate,
        engine=FastPitchEngine.name,
        licence=source.licence,
        sample=source.sample,
        version=version_of(files, source.speaker, source.gain_db, source.language),
    )
    reader = ScriptReader(Tokeniser(model.table, model.pronouncer), source.language)
    device = str(next(model.encoder.parameters()).device)
    speaker = Speaker(
        reader, TorchAcoustic(model, device), sound, source.speaker, gain_db=source.gain_db
    )
    return SpeakingVoice(voice, speaker)


def _load_vocoder(folder: Path, device: str, cuda_kernel: bool) -> Vocoder:
    import torch

    config = read_vocoder_config(folder)
    generator = load_bigvgan(folder, device, cuda_kernel=cuda_kernel)
    for block in generator.resblocks:  # nine tenths of the time are spent in these
        block.register_forward_pre_hook(lambda *_: check_interrupt())

    def run(mel: Floats) -> Floats:
        audio = _run(generator, torch.from_numpy(mel[np.newaxis]).to(device))
        samples: Floats = audio.reshape(-1).float().cpu().numpy()
        return samples

    return Vocoder(run, bigvgan_mel(config), reach(config))


def _run(module: Any, *inputs: Any) -> Any:
    import torch

    with torch.inference_mode():
        return module(*inputs)


def _open_device(wanted: str, threads: int) -> str:
    try:
        import torch
    except ImportError as error:
        raise EngineUnavailable(
            "the fastpitch engine needs torch; install it with: uv sync --group nemo"
        ) from error
    torch.set_num_threads(threads)
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise EngineUnavailable(f"the fastpitch engine is to run on {wanted}, but there is no CUDA")
    return wanted
