"""From a request to pieces of audio: tokens are awaited, made sound, marked and timed."""

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, repeat
from typing import TYPE_CHECKING

import numpy as np
import structlog
import torch

from services.tts.engines.base import AudioPiece, EngineError, SynthesisRequest
from services.tts.engines.chatterbox.backbone import Backbone
from services.tts.engines.chatterbox.conditioning import SAMPLE_RATE, VoiceTensors
from services.tts.engines.chatterbox.guard import (
    TOKENS_PER_SECOND,
    AlignmentGuard,
    Guard,
    RepeatGuard,
)
from services.tts.engines.chatterbox.models import ChatterboxModels
from services.tts.engines.chatterbox.prompts import Prompts
from services.tts.engines.chatterbox.sampling import Sampling
from services.tts.engines.chatterbox.speech import (
    BLOCK,
    FRAMES,
    LOOK_AHEAD,
    VOCABULARY,
    MelFlow,
    Stretch,
    Vocoder,
    position_noise,
)
from services.tts.engines.chatterbox.text import ReadText, TextReader
from services.tts.engines.chatterbox.timing import WordClock
from services.tts.engines.chatterbox.tokens import (
    Ending,
    Spoken,
    TokenLoop,
    TokenRequest,
    TokenStream,
)
from services.tts.engines.chatterbox.watermark import WatermarkStream
from services.tts.engines.interrupt import interruptible

if TYPE_CHECKING:
    from services.tts.engines.chatterbox.engine import Manner

log = structlog.get_logger(__name__)

_PIECES = (1, 1, 2, 4)
_PIECE = 8
"""Of a piece, in the usual blocks: little for the first to come soon, then more, so that the
growing cost of a piece is paid seldom."""
_LIMIT = 0.99
_HURRIED = 0.4
"""Tokens a character, below which nobody speaks."""
_PENALTY = {False: 1.2, True: 2.0}
"""For repeated tokens; the library's, English and multilingual."""


class Speech:
    """The models at work.

    Args:
        lanes: requests whose tokens are made together.
        block: of the audio model's attention (`MelFlow`).
        wait_s: longest wait for the tokens of a piece.
    """

    def __init__(
        self, models: ChatterboxModels, *, lanes: int, block: int = BLOCK, wait_s: float = 30.0
    ) -> None:
        t3 = models.t3
        self._models = models
        self._prompts = Prompts(t3)
        self._loop = TokenLoop(self._prompts, Backbone(t3, lanes, models.aligned_heads))
        self._flow = MelFlow(models.s3gen.flow, block=block)
        self._unit = block or BLOCK
        """Tokens of which pieces hold a whole number."""
        self._wait_s = wait_s
        self._reader = TextReader(
            models.tokenizer,
            models.clean,
            multilingual=models.multilingual,
            start=t3.hp.start_text_token,
            end=t3.hp.stop_text_token,
        )

    @property
    def steps(self) -> int:
        """Of the language model, for all requests together."""
        return self._loop.steps

    def start(self) -> None:
        self._loop.start()

    def close(self) -> None:
        self._loop.close()

    def speak(
        self,
        request: SynthesisRequest,
        voice: VoiceTensors,
        manner: "Manner",
        language: str,
        budget: int,
    ) -> Iterator[AudioPiece]:
        """Speak one text. Raises EngineError and torch's RuntimeErrors."""
        text = self._reader.read(request, language)
        seed = secrets.randbits(63) if request.seed is None else request.seed
        tokens = self._begin(text, voice, manner, seed, budget)
        try:
            pieces = _targets(self._unit)
            target = next(pieces)
            spoken = self._wait(tokens, target)
            if self._is_suspicious(spoken, target, len(request.text)):
                log.warning("speech went wrong and is begun again", ending=spoken.ending)
                tokens = self._begin(text, voice, manner, seed + 1, budget)
                spoken = self._wait(tokens, target)
            heard = _aligned(voice, self._unit)
            making = _Making(self._models, self._flow, text, heard, request.speed, seed)
            while True:
                said = _valid(spoken)
                final = len(said.tokens) < target
                piece = making.piece(said if final else _first(said, target), final=final)
                if len(piece.samples):
                    yield piece
                if final:
                    break
                target = next(pieces)
                spoken = self._wait(tokens, target)
            if spoken.ending is not Ending.END:
                log.warning("speech was cut", ending=spoken.ending, tokens=len(spoken.tokens))
        finally:
            tokens.cancel()

    def _begin(
        self, text: ReadText, voice: VoiceTensors, manner: "Manner", seed: int, budget: int
    ) -> TokenStream:
        multilingual = self._models.multilingual
        guard: Guard = AlignmentGuard(len(text.tokens)) if multilingual else RepeatGuard()
        sampling = Sampling(
            temperature=manner.temperature,
            cfg_weight=manner.cfg_weight,
            repetition_penalty=_PENALTY[multilingual],
        )
        prompt = self._prompts.make(voice, text.tokens, manner.exaggeration)
        return self._loop.submit(TokenRequest(prompt, sampling, seed, budget, guard))

    def _wait(self, tokens: TokenStream, count: int) -> Spoken:
        """All tokens so far, when `count` of them can be heard or no more will come."""
        wanted = count
        while True:
            with interruptible(tokens.cancel):
                spoken = tokens.wait(wanted, self._wait_s)
            missing = count - len(_valid(spoken).tokens)
            if spoken.ending is Ending.CANCELLED:
                raise EngineError("cancelled")
            if missing <= 0 or spoken.ending is not None:
                return spoken
            wanted = len(spoken.tokens) + missing

    def _is_suspicious(self, spoken: Spoken, target: int, characters: int) -> bool:
        """It ended before anything is heard, and cannot have been said."""
        if spoken.ending is None or len(_valid(spoken).tokens) >= target:
            return False
        hurried = len(spoken.tokens) < _HURRIED * characters
        return hurried or spoken.ending is Ending.GUARD or not spoken.tokens


class _Making:
    """One request's audio."""

    def __init__(
        self,
        models: ChatterboxModels,
        flow: MelFlow,
        text: ReadText,
        voice: VoiceTensors,
        speed: float,
        seed: int,
    ) -> None:
        self._flow = flow
        self._voice = voice
        self._seed = seed
        self._stretch = Stretch(speed)
        self._vocoder = Vocoder(models.s3gen.mel2wav, seed)
        self._watermark = WatermarkStream(models.watermarker)
        self._clock = WordClock(text.words)
        self._token_ms = 1000 / TOKENS_PER_SECOND / speed
        self._observed = 0
        self._frames = 0
        self._sent = 0

    def piece(self, said: Spoken, *, final: bool) -> AudioPiece:
        """What is heard of the tokens from the first on, and was not given yet."""
        mel = self._mel(said.tokens, final)
        samples = self._vocoder.push(self._stretch.push(mel, final=final), final=final)
        if len(samples):
            samples = self._watermark.push(samples)
        np.clip(samples, -_LIMIT, _LIMIT, out=samples)
        for attention in said.attention[self._observed :]:
            self._clock.observe(attention)
        self._observed = max(self._observed, len(said.attention))
        words = self._clock.begun(
            _ms(self._sent), _ms(self._sent + len(samples)), self._token_ms, final=final
        )
        self._sent += len(samples)
        return AudioPiece(samples, words)

    def _mel(self, tokens: tuple[int, ...], final: bool) -> torch.Tensor:
        if not tokens:
            raise EngineError("the model said nothing for this text")
        known = self._voice.reference_tokens.shape[1]
        noise = position_noise(self._seed, FRAMES * (known + len(tokens)))
        with _cancellable() as check:
            mel = self._flow.frames(self._voice, tokens, noise, final=final, check=check)
        fresh = mel[:, :, self._frames :]
        self._frames = mel.shape[2]
        return fresh


def limit_threads(count: int) -> None:
    """CPU threads that torch uses in this process."""
    torch.set_num_threads(count)


def _targets(unit: int) -> Iterator[int]:
    """Tokens with which a piece can be made that ends with a block of attention."""
    end = 0
    for blocks in chain(_PIECES, repeat(_PIECE)):
        end += max(1, round(blocks * BLOCK / unit)) * unit
        yield end + LOOK_AHEAD


def _valid(spoken: Spoken) -> Spoken:
    """Without the tokens that stand for no sound."""
    heard = [number for number, token in enumerate(spoken.tokens) if token < VOCABULARY]
    return Spoken(
        tuple(spoken.tokens[number] for number in heard),
        tuple(spoken.attention[number] for number in heard),
        spoken.ending,
    )


def _first(spoken: Spoken, count: int) -> Spoken:
    return Spoken(spoken.tokens[:count], spoken.attention[:count], spoken.ending)


def _aligned(voice: VoiceTensors, unit: int) -> VoiceTensors:
    """The reference without its first moment, so that blocks of attention begin with the speech."""
    odd = voice.reference_tokens.shape[1] % unit
    return VoiceTensors(
        voice.speaker,
        voice.prompt_tokens,
        voice.reference_tokens[:, odd:],
        voice.reference_mel[:, FRAMES * odd :],
        voice.timbre,
    )


@contextmanager
def _cancellable() -> Iterator["_Check"]:
    ended = threading.Event()
    with interruptible(ended.set):
        yield _Check(ended)


class _Check:
    """Raises when the work is not wanted any more."""

    def __init__(self, ended: threading.Event) -> None:
        self._ended = ended

    def __call__(self) -> None:
        if self._ended.is_set():
            raise EngineError("cancelled")


def _ms(samples: int) -> int:
    return samples * 1000 // SAMPLE_RATE
