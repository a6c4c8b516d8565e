"""The seam of synthesis: a request with text in, pieces of audio with word times out.

Engines are synchronous and are entered by their scheduler's threads only, as many at a time as they
have lanes. All state of a stream lives in the iterator that :meth:`TtsEngine.synthesize` returns:
its owner takes one piece at a time, may serve other streams in between, and closes the iterator to
cancel. A model run that takes long should be one that `interrupt` can end.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from services.shared.protocol.base import ERRORS, ErrorCode

Floats = npt.NDArray[np.float32]


class EngineError(Exception):
    """The engine could not do it; the sentence may be shown to the client."""

    def __init__(
        self,
        message: str,
        *,
        code: ErrorCode = ErrorCode.ENGINE_FAILED,
        retry_after_s: int | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.retry_after_s = retry_after_s
        """For HTTP's Retry-After, where the usual time is not right."""
        self.retryable = ERRORS[code].retryable if retryable is None else retryable
        """The same request may succeed later; None as an argument: as errors of this code do."""

    def again(self) -> "EngineError":
        """The same, to be kept or raised once more: without the frames that this one came through,
        which may hold who keeps it."""
        return EngineError(
            self.message,
            code=self.code,
            retry_after_s=self.retry_after_s,
            retryable=self.retryable,
        )


class EngineUnavailable(EngineError):
    """An engine cannot be made here; the sentence says what to install or to correct."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code=ErrorCode.INTERNAL)


class EngineLost(EngineError):
    """The engine cannot go on, e.g. after an error of CUDA; its process must be restarted.

    All streams that it had begun are lost with it. The same request may succeed afterwards.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice as clients see it."""

    id: str
    name: str
    language: str
    """BCP 47 tag, e.g. `en-US`."""
    sample_rate: int
    """Hz of the pieces that the engine gives for this voice."""
    engine: str
    licence: str
    sample: str | None = None
    """URL or path of a recording to try it by."""
    version: str = ""
    """Changes with whatever makes the voice sound different: model, settings."""
    cloned: bool = False
    """Made from reference audio; it is spoken with a `Conditioning`."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do."""

    streaming: bool
    """Gives audio before a sentence is complete."""
    word_timestamps: bool
    cloning: bool
    """Makes voices from reference audio."""
    languages: tuple[str, ...]
    """BCP 47 tags that some voice speaks."""
    max_characters: int
    """Longest text of one request."""
    lanes: int = 1
    """Streams that may be advanced at the same time, each in a thread of its own."""
    phonemes: bool = False
    """Takes IPA phonemes within the text, as `[[wɪn]]`."""


@dataclass(frozen=True, slots=True)
class Conditioning:
    """A cloned voice as its engine understands it: what it computed once from reference audio.

    It travels with every request in that voice, because an engine that kept "the current voice"
    could speak one caller's text in another's voice.
    """

    id: str
    """Equal ids are equal tensors, so an engine may keep its own copy under it."""
    version: str
    """Of the model that made it (`CloningEngine.conditioning_version`); no other understands it."""
    tensors: Mapping[str, npt.NDArray[Any]] = field(repr=False)
    """By the engine's own names."""


@dataclass(frozen=True, slots=True)
class ReadWord:
    """A written word and what is said for it."""

    written: str
    """With the punctuation that touches it; "$3 million" is one, because it is said as one."""
    spoken: str
    """As it stands in the request's text, in as many words as it takes."""


@dataclass(frozen=True, slots=True)
class SynthesisRequest:
    """One segment of text to speak."""

    text: str
    voice: str
    """A voice id."""
    language: str | None = None
    """None: the voice's own."""
    speed: float = 1.0
    """1.25 is a quarter faster."""
    seed: int | None = None
    """Equal requests with equal seeds give equal audio. None: a new rendition each time."""
    words: tuple[ReadWord, ...] = ()
    """What stands for what in `text`, in order; word times are told of the written words.
    Empty: all is said as it is written."""
    conditioning: Conditioning | None = field(default=None, repr=False)
    """Of a cloned voice; None for the voices that the engine brought itself."""


@dataclass(frozen=True, slots=True)
class WordTime:
    """When a word of the request's text is heard."""

    word: str
    """As written (see `SynthesisRequest.words`), with the punctuation that touches it."""
    start_ms: int
    """From the request's first sample."""
    end_ms: int


@dataclass(frozen=True, slots=True)
class AudioPiece:
    """The next stretch of a request's audio."""

    samples: Floats = field(repr=False)
    """[n] in [-1, 1], mono, at the voice's sample rate."""
    words: tuple[WordTime, ...] = ()
    """The words that begin in this piece; a word may end in a later one."""


class TtsEngine(Protocol):
    """A synthesiser. `load` may take seconds; everything else assumes it.

    What every engine promises is tested by one contract suite: the pieces joined are the whole
    audio; text without anything to speak gives no piece; words come in the text's order, each once,
    within the audio; nothing clips; a failure is an EngineError.
    """

    @property
    def name(self) -> str: ...

    @property
    def capabilities(self) -> Capabilities: ...

    def load(self) -> None:
        """Bring the models into memory. Raises EngineUnavailable."""
        ...

    def warm_up(self) -> None:
        """Run once on shapes that matter, so that the first caller does not pay for it."""
        ...

    def voices(self) -> tuple[Voice, ...]:
        """At least one, the engine's favourite first."""
        ...

    def synthesize(self, request: SynthesisRequest) -> Generator[AudioPiece, None, None]:
        """Speak; nothing is computed before the first piece is asked for.

        Raises:
            EngineError: from the iterator, e.g. `unknown_voice` or `text_too_long`.
        """
        ...

    def close(self) -> None: ...


class CloningEngine(TtsEngine, Protocol):
    """An engine that makes voices from reference audio (`capabilities.cloning`)."""

    @property
    def conditioning_version(self) -> str:
        """Changes with the weights that make and read conditionings."""
        ...

    def condition(self, reference: Floats, sample_rate: int) -> Mapping[str, npt.NDArray[Any]]:
        """Compute the tensors of a voice.

        Args:
            reference: [n] mono in [-1, 1], speech trimmed of silence.
            sample_rate: Hz, of `reference`; engines resample to what they need.

        Raises:
            EngineError: the reference cannot be used; the sentence says why.
        """
        ...
