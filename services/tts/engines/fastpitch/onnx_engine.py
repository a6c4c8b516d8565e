"""FastPitch and BigVGAN on onnxruntime: what `scripts/export_onnx.py` made, without torch."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from services.tts.engines.base import (
    AudioPiece,
    EngineUnavailable,
    Floats,
    SynthesisRequest,
    Voice,
)
from services.tts.engines.checks import same_language
from services.tts.engines.fastpitch.exported import (
    DECODER,
    DICTIONARY,
    ENCODER,
    MANIFEST,
    VOCODER,
    Manifest,
    read_voice,
)
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
from services.tts.engines.onnx_session import CPU, open_session, run_session
from services.tts.engines.versions import version_of

Device = Literal["cpu", "cuda"]
_PROVIDERS: dict[Device, tuple[str, ...]] = {"cpu": CPU, "cuda": ("CUDAExecutionProvider", *CPU)}


@dataclass(frozen=True, slots=True)
class ExportedSource:
    """One voice and the folder that speaks in it."""

    id: str
    name: str
    model: Path
    language: str
    licence: str
    sample: str | None = None
    speaker: int = 0
    gain_db: float = 0.0


class FastPitchOnnxEngine:
    """Several exported voices in one process; those of one folder share it.

    Args:
        sources: the voices, the favourite first.
        device: `cuda` needs onnxruntime-gpu.
        threads: CPU threads that one synthesis may use.
        lanes: syntheses at the same time.
        max_characters: longest text of one request.
    """

    name = "fastpitch_onnx"

    def __init__(
        self,
        sources: Sequence[ExportedSource],
        *,
        device: Device = "cpu",
        threads: int = 2,
        lanes: int = 1,
        max_characters: int = 1000,
    ) -> None:
        if not sources:
            raise EngineUnavailable("the fastpitch_onnx engine needs at least one voice")
        self._sources = tuple(sources)
        self._device: Device = device
        self._threads = threads
        self._voices: dict[str, SpeakingVoice] = {}
        self.capabilities = capabilities(
            (source.language for source in sources), max_characters, lanes
        )

    def load(self) -> None:
        models = cache(lambda folder: _Model(folder, self._threads, self._device))
        self._voices = {source.id: models(source.model).open(source) for source in self._sources}

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


class _Model:
    """An exported folder, loaded."""

    def __init__(self, folder: Path, threads: int, device: Device) -> None:
        self._folder = folder
        self._manifest, pronouncer = read_voice(folder)
        self._tokeniser = Tokeniser(self._manifest.tokens, pronouncer)
        encoder, decoder, vocoder = (
            _Network(folder / name, threads, device) for name in (ENCODER, DECODER, VOCODER)
        )
        self._acoustic = _Acoustic(encoder, decoder)
        self._vocoder = _vocoder(vocoder, self._manifest)

    def open(self, source: ExportedSource) -> SpeakingVoice:
        manifest = self._manifest
        if not same_language(source.language, manifest.language):
            raise EngineUnavailable(
                f"voice {source.id}: {self._folder} speaks {manifest.language}, "
                f"not {source.language}"
            )
        check_speaker(source.speaker, manifest.speakers, str(self._folder))
        names = (MANIFEST, ENCODER, DECODER, VOCODER, *([DICTIONARY] if manifest.phonemes else ()))
        files = [self._folder / name for name in names]
        voice = Voice(
            id=source.id,
            name=source.name,
            language=source.language,
            sample_rate=manifest.mel.sample_rate,
            engine=FastPitchOnnxEngine.name,
            licence=source.licence,
            sample=source.sample,
            version=version_of(files, source.speaker, source.gain_db, source.language),
        )
        reader = ScriptReader(self._tokeniser, source.language)
        return SpeakingVoice(
            voice,
            Speaker(reader, self._acoustic, self._vocoder, source.speaker, source.gain_db),
        )


class _Network:
    """One graph; inputs that it lacks are left out."""

    def __init__(self, path: Path, threads: int, device: Device) -> None:
        if not path.is_file():
            raise EngineUnavailable(f"{path} does not exist; scripts/export_onnx.py makes it")
        self._session: Any = open_session(
            path, threads, engine=FastPitchOnnxEngine.name, providers=_PROVIDERS[device]
        )
        self._inputs = {one.name for one in self._session.get_inputs()}

    def __call__(self, outputs: list[str], **feeds: Any) -> list[Floats]:
        known = {name: value for name, value in feeds.items() if name in self._inputs}
        return run_session(self._session, outputs, known)


@dataclass(frozen=True, slots=True)
class _Acoustic:
    encoder: _Network
    decoder: _Network

    def encode(self, ids: tuple[int, ...], speaker: int) -> tuple[Floats, Floats]:
        features, durations = self.encoder(
            ["features", "durations"],
            ids=np.array([ids], dtype=np.int64),
            speaker=np.array([speaker], dtype=np.int64),
        )
        return features[0], durations[0]

    def decode(self, features: Floats, speaker: int) -> Floats:
        [mel] = self.decoder(
            ["mel"], features=features[np.newaxis], speaker=np.array([speaker], dtype=np.int64)
        )
        return np.asarray(mel[0])


def _vocoder(network: _Network, manifest: Manifest) -> Vocoder:
    def run(mel: Floats) -> Floats:
        [audio] = network(["audio"], mel=mel[np.newaxis])
        return audio.reshape(-1)

    return Vocoder(run, manifest.mel, manifest.reach)
