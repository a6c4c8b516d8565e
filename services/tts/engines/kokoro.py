"""Kokoro-82M: many voices on one model; espeak-ng phonemes, onnxruntime, real word times.

The weights are Apache-2.0. The phonemes come from piper-tts and espeak-ng, which are GPL-3; they
are installed by the dependency group `kokoro` only.

The decoder normalises over the whole utterance, so audio comes sentence by sentence.
"""

import json
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from services.tts.engines.base import (
    AudioPiece,
    Capabilities,
    EngineError,
    EngineUnavailable,
    Floats,
    SynthesisRequest,
    Voice,
)
from services.tts.engines.checks import check_request, is_speakable
from services.tts.engines.espeak import Espeak
from services.tts.engines.japanese import JapaneseEspeak, open_jtalk
from services.tts.engines.kokoro_graph import KokoroStages, split_kokoro
from services.tts.engines.kokoro_phonemes import ESPEAK_VOICES, to_symbols
from services.tts.engines.loudness import amplified
from services.tts.engines.onnx_session import open_session, run_session
from services.tts.engines.script import read_script, sample_spans
from services.tts.engines.versions import version_of

SAMPLE_RATE = 24_000
HOP = 600
"""Samples of a frame."""
STYLE = 256
_MAX_TOKENS = 510
"""What the model's positions and the tables of styles have room for."""
_EDGE = 0
"""The token before the first and after the last."""
_LEAD = SAMPLE_RATE * 6 // 100
_TAIL = SAMPLE_RATE * 35 // 100
"""Samples of silence kept before the first and after the last sound; the model makes a third of a
second before it and half a second after it."""
_SILENT = 0.005
"""What is below this part of the peak is silence."""


@dataclass(frozen=True, slots=True)
class KokoroSource:
    """One voice and where its styles lie."""

    id: str
    name: str
    styles: Path
    """`<name>.bin`: float32 [lengths, 256]."""
    language: str
    """The language it reads: a key of ESPEAK_VOICES; any voice can read any."""
    licence: str
    sample: str | None = None
    gain_db: float = 0.0


class KokoroEngine:
    """Several voices in one process, all on one model.

    Args:
        model: `….onnx`, with `vocab.json` beside it.
        sources: the voices, the favourite first.
        threads: CPU threads that one synthesis may use.
        lanes: syntheses at the same time.
        max_characters: longest text of one request.
    """

    name = "kokoro"

    def __init__(
        self,
        model: Path,
        sources: Sequence[KokoroSource],
        *,
        threads: int = 2,
        lanes: int = 1,
        max_characters: int = 1000,
    ) -> None:
        if not sources:
            raise EngineUnavailable("the kokoro engine needs at least one voice")
        for source in sources:
            if source.language not in ESPEAK_VOICES:
                raise EngineUnavailable(
                    f"kokoro does not read {source.language}; it reads {', '.join(ESPEAK_VOICES)}"
                )
        self._path = model
        self._sources = tuple(sources)
        self._threads = threads
        self._model: _Model | None = None
        self._speakers: dict[str, _Speaker] = {}
        self.capabilities = Capabilities(
            streaming=False,
            word_timestamps=True,
            cloning=False,
            languages=tuple(dict.fromkeys(source.language for source in sources)),
            max_characters=max_characters,
            lanes=lanes,
            phonemes=True,
        )

    def load(self) -> None:
        self._model = model = _Model(self._path, self._threads)
        readers = {language: _reader(language) for language in self.capabilities.languages}
        self._speakers = {
            source.id: _Speaker(source, model, readers[source.language]) for source in self._sources
        }

    def warm_up(self) -> None:
        # The voices share the model; one of them brings it to speed.
        for text in ("Yes.", "This sentence makes the buffers as large as they often are."):
            for _ in self.synthesize(SynthesisRequest(text, self._sources[0].id)):
                pass

    def close(self) -> None:
        self._speakers = {}
        self._model = None

    def voices(self) -> tuple[Voice, ...]:
        return tuple(speaker.voice for speaker in self._speakers.values())

    def synthesize(self, request: SynthesisRequest) -> Generator[AudioPiece, None, None]:
        voice = check_request(request, self.voices(), self.capabilities)
        if is_speakable(request.text):
            try:
                yield from self._speakers[voice.id].speak(request)
            except (RuntimeError, ValueError) as error:
                raise EngineError(f"voice {voice.id} failed on this text: {error}") from error


@dataclass(frozen=True, slots=True)
class _Sound:
    samples: Floats = field(repr=False)
    samples_per_token: npt.NDArray[np.int64]
    """Without the edges."""
    lead: int
    """Samples before the first token."""
    audible: int
    """Samples up to the end of the last sound: the last tokens seem to last longer."""


class _Model:
    """The two parts of the graph and the vocabulary."""

    def __init__(self, path: Path, threads: int) -> None:
        self.vocabulary = _read_vocabulary(path.with_name("vocab.json"))
        self.version = version_of([path])
        self._stages: KokoroStages = split_kokoro(path)
        self._text = open_session(self._stages.text, threads, engine=KokoroEngine.name)
        self._sound = open_session(self._stages.sound, threads, engine=KokoroEngine.name)

    def speak(self, tokens: Sequence[int], styles: Floats, speed: float) -> _Sound:
        """Audio of up to 510 tokens.

        Args:
            styles: [lengths, 256]; the one for this many tokens is used.
        """
        names = self._stages
        style = styles[min(len(tokens), len(styles)) - 1][np.newaxis]
        features, pitch, energy, durations = run_session(
            self._text,
            [names.features, names.pitch, names.energy, names.durations],
            {
                "tokens": np.array([[_EDGE, *tokens, _EDGE]], dtype=np.int64),
                "style": style,
                "speed": np.array([speed], dtype=np.float32),
            },
        )
        [audio] = run_session(
            self._sound,
            [names.audio],
            {names.features: features, names.pitch: pitch, names.energy: energy, "style": style},
        )
        frames = durations.reshape(-1).astype(np.int64)
        samples = audio.reshape(-1)
        first, end = _audible(samples)
        cut = min(max(0, first - _LEAD), int(frames[0]) * HOP)
        return _Sound(
            samples=samples[cut : end + _TAIL],
            samples_per_token=frames[1:-1] * HOP,
            lead=int(frames[0]) * HOP - cut,
            audible=end - cut,
        )


class _Speaker:
    """One voice on the shared model."""

    def __init__(self, source: KokoroSource, model: _Model, reader: Espeak) -> None:
        self._model = model
        self._reader = reader
        self._language = source.language
        self._styles = _read_styles(source.styles)
        self._gain_db = source.gain_db
        self.voice = Voice(
            id=source.id,
            name=source.name,
            language=source.language,
            sample_rate=SAMPLE_RATE,
            engine=KokoroEngine.name,
            licence=source.licence,
            sample=source.sample,
            version=version_of([source.styles], model.version, source.language, source.gain_db),
        )

    def speak(self, request: SynthesisRequest) -> Iterator[AudioPiece]:
        script = read_script(request.text, self._reader, request.words)
        sent = 0
        for run in script.runs():
            tokens, owners = self._tokens(script.phonemes[run.start : run.stop])
            if not tokens:
                continue
            sound = self._model.speak(tokens, self._styles, request.speed)
            spans = sample_spans(owners, sound.samples_per_token, len(run)) + sound.lead
            heard = np.minimum(spans, sound.audible) + sent
            words = tuple(script.word_times(run, heard, SAMPLE_RATE))
            sent += len(sound.samples)
            yield AudioPiece(amplified(sound.samples, self._gain_db), words)

    def _tokens(self, phonemes: Sequence[str]) -> tuple[list[int], list[int]]:
        """Tokens and the phoneme that each comes from; what the model does not know is left out."""
        known = self._model.vocabulary
        symbols, owners = to_symbols(phonemes, self._language)
        pairs = [
            (known[symbol], owner)
            for symbol, owner in zip(symbols, owners, strict=True)
            if symbol in known
        ]
        if len(pairs) > _MAX_TOKENS:
            raise ValueError(f"{len(pairs)} tokens in one sentence; at most {_MAX_TOKENS} fit")
        return [token for token, _ in pairs], [owner for _, owner in pairs]


def _audible(samples: Floats) -> tuple[int, int]:
    """The first sample that can be heard, and one past the last."""
    loud = np.flatnonzero(np.abs(samples) > _SILENT * np.abs(samples).max(initial=0.0))
    return (int(loud[0]), int(loud[-1]) + 1) if len(loud) else (0, len(samples))


def _reader(language: str) -> Espeak:
    if language == "ja":
        return JapaneseEspeak(open_jtalk())
    return Espeak(ESPEAK_VOICES[language])


def _read_vocabulary(path: Path) -> dict[str, int]:
    try:
        vocabulary: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))["vocab"]
    except (OSError, ValueError, LookupError) as error:
        raise EngineUnavailable(f"the vocabulary {path} cannot be read: {error}") from error
    return vocabulary


def _read_styles(path: Path) -> Floats:
    try:
        styles = np.fromfile(path, dtype="<f4")
    except OSError as error:
        raise EngineUnavailable(f"voice {path} cannot be read: {error}") from error
    if not styles.size or styles.size % STYLE:
        raise EngineUnavailable(f"{path.name} is no Kokoro voice: not rows of {STYLE} numbers")
    return styles.astype(np.float32).reshape(-1, STYLE)
