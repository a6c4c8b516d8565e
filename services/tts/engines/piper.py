"""Piper voices (VITS): espeak-ng phonemes, onnxruntime, audio within the sentence, real word times.

piper-tts and espeak-ng are GPL-3; they are installed by the dependency group `piper` only.
"""

import json
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np

from services.tts.engines.base import (
    AudioPiece,
    Capabilities,
    EngineError,
    EngineUnavailable,
    SynthesisRequest,
    Voice,
)
from services.tts.engines.checks import check_request, is_speakable
from services.tts.engines.espeak import Espeak
from services.tts.engines.loudness import amplified
from services.tts.engines.onnx_session import open_session
from services.tts.engines.script import read_script, sample_spans, take_begun
from services.tts.engines.versions import version_of
from services.tts.engines.vits import VitsModel, VitsScales
from services.tts.engines.vits_graph import split_vits

_FIRST_WINDOWS = (32, 64)
_WINDOW = 128
"""Frames (11.6 ms each at 22050 Hz) decoded at a time: little for the first piece to come soon,
then more, yet never so much that other streams wait long."""
_PAD, _START, _END = "_", "^", "$"


@dataclass(frozen=True, slots=True)
class PiperSource:
    """One voice and where its files lie."""

    id: str
    name: str
    model: Path
    """`<name>.onnx`; its configuration is beside it as `<name>.onnx.json`."""
    language: str
    licence: str
    sample: str | None = None
    speaker: int = 0
    gain_db: float = 0.0
    """Fixed, so that sentences keep their loudness relative to each other."""


class PiperEngine:
    """Several Piper voices in one process.

    Args:
        sources: the voices, the favourite first.
        threads: CPU threads that one synthesis may use.
        lanes: syntheses at the same time.
        max_characters: longest text of one request.
    """

    name = "piper"

    def __init__(
        self,
        sources: Sequence[PiperSource],
        *,
        threads: int = 2,
        lanes: int = 1,
        max_characters: int = 1000,
    ) -> None:
        if not sources:
            raise EngineUnavailable("the piper engine needs at least one voice")
        self._sources = tuple(sources)
        self._threads = threads
        self._speakers: dict[str, _PiperVoice] = {}
        self.capabilities = Capabilities(
            streaming=True,
            word_timestamps=True,
            cloning=False,
            languages=tuple(dict.fromkeys(source.language for source in sources)),
            max_characters=max_characters,
            lanes=lanes,
            phonemes=True,
        )

    def load(self) -> None:
        self._speakers = {source.id: _PiperVoice(source, self._threads) for source in self._sources}

    def warm_up(self) -> None:
        for source in self._sources:
            for text in ("Yes.", "This sentence makes the buffers as large as they often are."):
                for _ in self.synthesize(SynthesisRequest(text, source.id)):
                    pass

    def close(self) -> None:
        self._speakers = {}

    def voices(self) -> tuple[Voice, ...]:
        return tuple(speaker.voice for speaker in self._speakers.values())

    def synthesize(self, request: SynthesisRequest) -> Generator[AudioPiece, None, None]:
        voice = check_request(request, self.voices(), self.capabilities)
        if is_speakable(request.text):
            try:
                yield from self._speakers[voice.id].speak(request)
            except (RuntimeError, ValueError) as error:
                raise EngineError(f"voice {voice.id} failed on this text: {error}") from error


class _PiperVoice:
    """One loaded voice."""

    def __init__(self, source: PiperSource, threads: int) -> None:
        files = (source.model, source.model.with_name(source.model.name + ".json"))
        config = _read_config(source.model)
        inference = config.get("inference", {})
        self._scales = VitsScales(
            noise=float(inference.get("noise_scale", 0.667)),
            length=float(inference.get("length_scale", 1.0)),
            duration_noise=float(inference.get("noise_w", 0.8)),
        )
        self._ids: dict[str, list[int]] = config["phoneme_id_map"]
        self._gain_db = source.gain_db
        self._espeak = Espeak(config["espeak"]["voice"])
        self._model = VitsModel(
            split_vits(source.model),
            lambda model: open_session(model, threads, engine=PiperEngine.name),
            source.speaker,
        )
        self.voice = Voice(
            id=source.id,
            name=source.name,
            language=source.language,
            sample_rate=int(config["audio"]["sample_rate"]),
            engine=PiperEngine.name,
            licence=source.licence,
            sample=source.sample,
            version=version_of(files, source.speaker, source.gain_db),
        )

    def speak(self, request: SynthesisRequest) -> Iterator[AudioPiece]:
        rng = np.random.default_rng(request.seed)
        script = read_script(request.text, self._espeak, request.words)
        scales = replace(self._scales, length=self._scales.length / request.speed)
        sent = 0
        for run in script.runs():
            ids, owners = self._to_ids(script.phonemes[run.start : run.stop])
            utterance = self._model.encode(ids, scales, rng)
            spans = sample_spans(owners, utterance.samples_per_id, len(run)) + sent
            words = deque(script.word_times(run, spans, self.voice.sample_rate))
            for samples in self._model.decode(utterance, chain(_FIRST_WINDOWS, repeat(_WINDOW))):
                sent += len(samples)
                begun = take_begun(words, sent * 1000 // self.voice.sample_rate)
                yield AudioPiece(amplified(samples, self._gain_db), begun)

    def _to_ids(self, phonemes: Sequence[str]) -> tuple[list[int], list[int]]:
        """Ids as the voice was trained on, padded, and the phoneme that each comes from (or -1)."""
        pad = self._ids[_PAD]
        ids, owners = [*self._ids[_START], *pad], [-1] * (len(self._ids[_START]) + len(pad))
        for number, phoneme in enumerate(phonemes):
            own = self._ids.get(phoneme)
            if own is not None:  # what the voice never heard in training it cannot say
                ids += [*own, *pad]
                owners += [number] * (len(own) + len(pad))
        return [*ids, *self._ids[_END]], [*owners, *([-1] * len(self._ids[_END]))]


def _read_config(model: Path) -> dict[str, Any]:
    path = model.with_name(model.name + ".json")
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EngineUnavailable(f"voice configuration {path} cannot be read: {error}") from error
    kind = config.get("phoneme_type", "espeak")
    if kind != "espeak":
        raise EngineUnavailable(f"voice {model.name} needs {kind} phonemes; only espeak is served")
    return config
