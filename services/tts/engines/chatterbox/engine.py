"""The Chatterbox engine: voices made from a few seconds of speech, heard while being made.

For each request the language model (T3) writes 25 speech tokens a second and the audio model turns
them into sound, piece by piece. All of a request lives in its iterator; who speaks is told with
each request, so two callers never hear each other's voice.
"""

import hashlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
import structlog

from services.tts.engines.base import (
    AudioPiece,
    Capabilities,
    EngineError,
    EngineUnavailable,
    Floats,
    SynthesisRequest,
    Voice,
)
from services.tts.engines.chatterbox.conditioning import (
    SAMPLE_RATE,
    VoiceTensors,
    make_voice,
    read_builtin,
)
from services.tts.engines.chatterbox.failures import engine_error
from services.tts.engines.chatterbox.guard import TokenBudget
from services.tts.engines.checks import check_request, is_speakable, same_language

if TYPE_CHECKING:
    from services.tts.engines.chatterbox.models import ChatterboxModels
    from services.tts.engines.chatterbox.streaming import Speech

log = structlog.get_logger(__name__)

LANGUAGES = (
    *("ar", "da", "de", "el", "en", "es", "fi", "fr", "he", "hi", "it", "ja"),
    *("ko", "ms", "nl", "no", "pl", "pt", "ru", "sv", "sw", "tr", "zh"),
)
"""Of the multilingual model."""
LICENCE = "MIT"
_WARM_TEXTS = ("Yes.", "This sentence makes the buffers as large as they often are.")


@dataclass(frozen=True, slots=True)
class Manner:
    """How a voice speaks."""

    exaggeration: float = 0.5
    """0.25 is flat, 0.5 as the reference, 1 and more dramatic and faster."""
    cfg_weight: float = 0.5
    """Lower is slower, and follows the reference's accent less."""
    temperature: float = 0.8


@dataclass(frozen=True, slots=True)
class ChatterboxSource:
    """A voice that the engine brings."""

    id: str
    name: str
    language: str
    manner: Manner = Manner()
    conditioning: Path | None = None
    """A `conds.pt` of the library; None: the voice that came with the weights."""
    licence: str = LICENCE
    sample: str | None = None


@dataclass(slots=True)
class _Loaded:
    models: "ChatterboxModels"
    speech: "Speech"
    tensors: dict[str, VoiceTensors] = field(default_factory=dict)
    voices: tuple[Voice, ...] = ()


class ChatterboxEngine:
    """One Chatterbox model.

    Args:
        models: loads them; raises EngineUnavailable.
        sources: the voices, the favourite first.
        manner: of cloned voices.
        lanes: requests that are spoken at the same time; the language model takes them together.
        multilingual: which model it is.
        max_characters: longest text of one request; beyond 300 or so the model loses its way.
        budget: the longest speech that a text is given.
        threads: CPU threads of the process's torch, where it runs on the CPU.
        block: see `speech.MelFlow`; the engine can begin after the first one.
        wait_s: longest wait for a piece's tokens.
    """

    name = "chatterbox"

    def __init__(
        self,
        models: Callable[[], "ChatterboxModels"],
        sources: Sequence[ChatterboxSource],
        *,
        manner: Manner = Manner(),
        lanes: int = 4,
        multilingual: bool = False,
        max_characters: int = 280,
        budget: TokenBudget = TokenBudget(),  # noqa: B008 - frozen
        threads: int | None = None,
        block: int = 12,
        wait_s: float = 30.0,
    ) -> None:
        if not sources:
            raise EngineUnavailable("the chatterbox engine needs at least one voice")
        known = LANGUAGES if multilingual else ("en",)
        for source in sources:
            if not any(same_language(source.language.split("-")[0], each) for each in known):
                raise EngineUnavailable(
                    f"this Chatterbox model does not speak {source.language}; it speaks "
                    f"{', '.join(known)}"
                )
        self._load_models = models
        self._sources = tuple(sources)
        self._manner = manner
        self._manners = {source.id: source.manner for source in sources}
        self._budget = budget
        self._threads = threads
        self._block = block
        self._wait_s = wait_s
        self._loaded: _Loaded | None = None
        spoken = tuple(dict.fromkeys(source.language for source in sources))
        # Cloned voices speak all of the model's, with any region.
        others = (each for each in known if each not in spoken)
        self.capabilities = Capabilities(
            streaming=True,
            word_timestamps=True,
            cloning=True,
            languages=(*spoken, *others),
            max_characters=max_characters,
            lanes=lanes,
        )

    def load(self) -> None:
        self.close()
        models = self._load_models()
        from services.tts.engines.chatterbox.streaming import Speech, limit_threads

        if self._threads is not None:
            limit_threads(self._threads)
        speech = Speech(
            models,
            lanes=self.capabilities.lanes,
            block=self._block,
            wait_s=self._wait_s,
        )
        loaded = _Loaded(models, speech)
        for source in self._sources:
            loaded.tensors[source.id] = _tensors(source, models)
        loaded.voices = tuple(self._voice(source, models.version) for source in self._sources)
        speech.start()
        self._loaded = loaded

    def warm_up(self) -> None:
        loaded = self._require()
        for text in _WARM_TEXTS:
            for _ in self.synthesize(SynthesisRequest(text, loaded.voices[0].id, seed=0)):
                pass

    def close(self) -> None:
        if self._loaded is not None:
            self._loaded.speech.close()
            self._loaded = None

    def voices(self) -> tuple[Voice, ...]:
        return self._loaded.voices if self._loaded is not None else ()

    # Cloning.

    @property
    def conditioning_version(self) -> str:
        return self._require().models.version

    def condition(self, reference: Floats, sample_rate: int) -> Mapping[str, npt.NDArray[Any]]:
        models = self._require().models
        try:
            return make_voice(
                models.voice_encoder, models.s3gen, reference, sample_rate
            ).as_mapping()
        except (RuntimeError, ValueError) as error:  # torch's errors are RuntimeErrors
            raise engine_error(error) from error

    # Speaking.

    def synthesize(self, request: SynthesisRequest) -> Generator[AudioPiece, None, None]:
        loaded = self._require()
        voice = check_request(request, loaded.voices, self.capabilities)
        if not is_speakable(request.text):
            return
        tensors = self._tensors_of(request, loaded)
        manner = self._manners.get(request.voice, self._manner)
        language = request.language or voice.language
        try:
            yield from loaded.speech.speak(
                request, tensors, manner, language, self._budget.tokens(request.text)
            )
        except (RuntimeError, ValueError) as error:  # torch's errors are RuntimeErrors
            raise engine_error(error) from error

    def _tensors_of(self, request: SynthesisRequest, loaded: _Loaded) -> VoiceTensors:
        given = request.conditioning
        if given is None:
            return loaded.tensors[request.voice]
        if given.version != loaded.models.version:
            raise EngineError(
                f"voice {request.voice} was made for other weights ({given.version}); these are "
                f"{loaded.models.version}: make it again from its recording"
            )
        return VoiceTensors.from_mapping(given.tensors)

    def _voice(self, source: ChatterboxSource, version: str) -> Voice:
        # The manner of cloned voices is in it because their versions are made of this one.
        settings = repr((source.manner, self._manner, self._block)).encode()
        digest = hashlib.sha256(settings).hexdigest()
        return Voice(
            id=source.id,
            name=source.name,
            language=source.language,
            sample_rate=SAMPLE_RATE,
            engine=self.name,
            licence=source.licence,
            sample=source.sample,
            version=f"{version}-{digest[:8]}",
        )

    def _require(self) -> _Loaded:
        if self._loaded is None:
            raise EngineError("the chatterbox engine is not loaded")
        return self._loaded


def _tensors(source: ChatterboxSource, models: "ChatterboxModels") -> VoiceTensors:
    if source.conditioning is not None:
        return read_builtin(source.conditioning)
    if models.builtin is None:
        raise EngineUnavailable(
            f"voice {source.id} has no file, and the model's folder has no conds.pt"
        )
    return models.builtin
