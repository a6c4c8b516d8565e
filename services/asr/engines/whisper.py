"""Whisper on CTranslate2 (faster-whisper's models, tokenizer and features), batched by ourselves.

faster-whisper's own batching works inside one file; here the items of a batch come from different
callers. CTranslate2 wants prompts of one shape in a batch (same tokens before the text), and the
padded length of the audio changes the result slightly: both are part of :meth:`batch_key`, so that
a request gives the same text alone and in company.

Whisper pads every input to 30 s, which is most of the cost of a short utterance. CTranslate2 takes
shorter inputs: with a few seconds of padding left the text stays nearly the same at a fifth of the
encoder's time (short context, measured in services/asr/README.md).
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from services.asr.engines.base import (
    Capabilities,
    DecodeRequest,
    EngineError,
    Floats,
    Hypothesis,
    HypothesisWord,
)
from services.asr.engines.cublas import MISSING, load_cublas
from services.asr.engines.guards import Evidence, why_hidden, why_withheld
from services.asr.engines.guards_phrases import Inventions
from services.asr.engines.whisper_words import words_of
from services.shared.models.store import ModelStore

if TYPE_CHECKING:
    from services.asr.config import EngineConfig

_FULL_S = 30
_CONTEXTS_S = (10, 15, 20, _FULL_S)
"""Lengths that audio is padded to; few, so that requests meet in batches."""
_MARGIN_S = 4.0
"""Padding that must be left after the audio: with less, Whisper repeats itself."""
_FRAMES_PER_S = 100
_TOKENS_PER_S = 8
"""Budget of output; fast speech has about 5."""
_PROMPT_TOKENS = 200
_UNCOVERED_S = 1.0
"""A final that leaves more than this at its end without account is continued from there."""
_NO_REPEAT = 4
"""Tokens in a row that may not come twice, where loops are likely."""
_CONTINUATIONS = 3
"""Most of them for one final: each costs a decode, alone, while everybody waits."""
_MOST_WORKERS = 8
"""On one CPU by default: each has buffers of its own."""
_SHORTEST_S = 0.1
"""Nobody says a word in less, and aligning words needs a few frames."""


@dataclass(frozen=True, slots=True)
class _Decoded:
    """One item's raw result."""

    tokens: list[int]
    evidence: Evidence
    context_s: int
    covered_s: float
    """Up to here the decoder accounts for the audio, by its last timestamp."""

    @property
    def text(self) -> str:
        return self.evidence.text


_Checked = tuple[_Decoded, tuple[HypothesisWord, ...]]


class WhisperEngine:
    """Any Whisper in CTranslate2 format, on CPU or CUDA."""

    def __init__(self, config: "EngineConfig", store: ModelStore) -> None:
        self._config = config
        self._path = _locate(config.model, store)
        self._model: Any = None
        self._tokenizers: dict[str | None, Any] = {}
        self._capabilities: Capabilities | None = None
        self._inventions = Inventions()

    @property
    def capabilities(self) -> Capabilities:
        if self._capabilities is None:
            raise EngineError("the model is not loaded yet")
        return self._capabilities

    def load(self) -> None:
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise EngineError(
                "faster-whisper is not available. Install it with: uv sync --group asr"
            ) from error
        config = self._config
        _want_cublas(config.device)
        devices = _devices(config)
        workers = config.workers or _usual_workers(config.device)
        self._model = WhisperModel(
            str(self._path),
            device=config.device,
            device_index=list(devices),
            compute_type=config.compute_type,
            cpu_threads=config.cpu_threads,
            num_workers=workers,
            local_files_only=True,
        )
        self._inventions = Inventions.load()
        self._capabilities = Capabilities(
            model=config.model,
            languages=tuple(sorted(self._model.supported_languages)),
            max_seconds=float(_FULL_S),
            word_timestamps=True,
            max_batch=config.max_batch,
            lanes=workers * len(devices),
        )

    def warm_up(self) -> None:
        noise = np.random.default_rng(0).normal(0, 0.01, 16_000).astype(np.float32)
        for final in (True, False):
            self.transcribe([DecodeRequest(noise, final, language=self.capabilities.languages[0])])

    def close(self) -> None:
        self._model = None
        self._tokenizers.clear()

    def batch_key(self, request: DecodeRequest) -> object:
        words = request.language if request.word_timestamps else None
        preface = self._preface_tokens(request)
        detect = request.language is None
        return (request.final, self._context_s(request), len(preface), detect, words)

    def cost(self, request: DecodeRequest) -> float:
        """Seconds that are encoded."""
        return self._context_s(request)

    def transcribe(self, requests: Sequence[DecodeRequest]) -> list[Hypothesis | Exception]:
        """Recognise a batch whose items have one :meth:`batch_key`."""
        return self._transcribe(requests, _CONTINUATIONS)

    def _transcribe(
        self, requests: Sequence[DecodeRequest], continuations: int
    ) -> list[Hypothesis | Exception]:
        for request in requests:
            if request.seconds > _FULL_S:
                raise EngineError(f"{request.seconds:.1f} s of audio; Whisper takes {_FULL_S} s")
        context_s = self._context_s(requests[0])
        encoded = self._encode([request.audio for request in requests], context_s)
        languages = self._languages(requests, encoded)
        decoded = self._generate(requests, languages, encoded, context_s)
        words = self._align(requests, languages, encoded, decoded)
        return [
            self._finish(request, language, result, aligned, continuations)
            for request, language, result, aligned in zip(
                requests, languages, decoded, words, strict=True
            )
        ]

    # Encoder.

    def _context_s(self, request: DecodeRequest) -> int:
        mode = self._config.short_context
        if mode == "never" or (mode == "partials" and request.final):
            return _FULL_S
        needed = request.seconds + _MARGIN_S
        return next((context for context in _CONTEXTS_S if context >= needed), _FULL_S)

    def _encode(self, audios: Sequence[Floats], context_s: int) -> Any:
        frames = context_s * _FRAMES_PER_S
        bands = self._model.feature_extractor.mel_filters.shape[0]
        features = np.zeros((len(audios), bands, frames), dtype=np.float32)
        for row, audio in zip(features, audios, strict=True):
            spectrum = self._model.feature_extractor(audio)[:, :frames]
            row[:, : spectrum.shape[1]] = spectrum
        return self._model.encode(features)

    # Decoder.

    def _generate(
        self,
        requests: Sequence[DecodeRequest],
        languages: Sequence[str | None],
        encoded: Any,
        context_s: int,
        *,
        no_repeat: bool = False,
    ) -> list[_Decoded]:
        prompts = [
            self._prompt(request, language)
            for request, language in zip(requests, languages, strict=True)
        ]
        budget = context_s * _TOKENS_PER_S
        longest = max(map(len, prompts))
        final = requests[0].final
        results = self._model.model.generate(
            encoded,
            prompts,
            beam_size=self._config.beam_size if final else 1,
            no_repeat_ngram_size=_NO_REPEAT if no_repeat or context_s < _FULL_S else 0,
            max_length=min(self._model.max_length, longest + budget),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=True,
            suppress_tokens=[-1],
            max_initial_timestamp_index=50,
        )
        return [
            self._decoded(request, result, language, context_s, budget)
            for request, result, language in zip(requests, results, languages, strict=True)
        ]

    def _decoded(
        self,
        request: DecodeRequest,
        result: Any,
        language: str | None,
        context_s: int,
        budget: int,
    ) -> _Decoded:
        tokenizer = self._tokenizer(language)
        tokens = list(result.sequences_ids[0])  # a forced prefix included
        text_tokens = [token for token in tokens if token < tokenizer.eot]
        evidence = Evidence(
            text=str(tokenizer.decode(text_tokens)).strip(),
            seconds=request.seconds,
            tokens=len(tokens),
            # CTranslate2 gives the mean over the tokens without the end's.
            log_probability=result.scores[0] * len(tokens) / (len(tokens) + 1),
            no_speech=float(result.no_speech_prob),
            exhausted=len(tokens) >= budget,
            in_full=context_s >= _FULL_S,
            hints=_hints(request),
        )
        return _Decoded(text_tokens, evidence, context_s, _covered_s(tokens, tokenizer))

    def _finish(
        self,
        request: DecodeRequest,
        language: str | None,
        decoded: _Decoded,
        words: tuple[HypothesisWord, ...],
        continuations: int,
    ) -> Hypothesis | Exception:
        """Check what was decoded: try again what looks wrong, withhold what nobody said.

        Words that were promised are never withheld.
        """
        if request.final and not decoded.evidence.speechless:
            decoded, words = self._mended(request, language, decoded, words)
        if not request.prefix:
            check = why_withheld if request.final else why_hidden
            reason = check(decoded.evidence, self._inventions, language)
            if reason is not None:
                return Hypothesis(text="", language=language, suppressed=reason.value)
        hypothesis = Hypothesis(
            text=decoded.text,
            language=language,
            confidence=round(math.exp(min(0.0, decoded.evidence.log_probability)), 3),
            words=words,
        )
        uncovered = request.seconds - decoded.covered_s > _UNCOVERED_S
        if request.final and uncovered and continuations > 0:
            return self._continued(request, hypothesis, decoded.covered_s, continuations - 1)
        return hypothesis

    def _continued(
        self, request: DecodeRequest, beginning: Hypothesis, covered_s: float, continuations: int
    ) -> Hypothesis | Exception:
        """Whisper may stop at a pause and leave the rest out: recognise that, and join."""
        start = round(covered_s * 16_000)
        rest = replace(request, audio=request.audio[start:], language=beginning.language, prefix="")
        continuation = self._transcribe([rest], continuations)[0]
        if isinstance(continuation, Exception) or not continuation.text:
            return beginning
        return _joined(beginning, continuation, round(covered_s * 1000))

    def _mended(
        self,
        request: DecodeRequest,
        language: str | None,
        decoded: _Decoded,
        words: tuple[HypothesisWord, ...],
    ) -> _Checked:
        """Decode again what fails a check, alone: with the full context, then without repeats."""
        evidence = decoded.evidence
        unsure = evidence.log_probability < self._config.recheck_below
        if evidence.doubtful or (unsure and not evidence.in_full):
            decoded, words = self._again(request, language, no_repeat=False)
        if decoded.evidence.looping:
            decoded, words = self._again(request, language, no_repeat=True)
        return decoded, words

    def _again(self, request: DecodeRequest, language: str | None, *, no_repeat: bool) -> _Checked:
        encoded = self._encode([request.audio], _FULL_S)
        decoded = self._generate([request], [language], encoded, _FULL_S, no_repeat=no_repeat)
        return decoded[0], self._align([request], [language], encoded, decoded)[0]

    # Prompts and languages.

    def _tokenizer(self, language: str | None) -> Any:
        if language not in self._tokenizers:
            from faster_whisper.tokenizer import Tokenizer

            multilingual = self._model.model.is_multilingual
            self._tokenizers[language] = Tokenizer(
                self._model.hf_tokenizer,
                multilingual,
                task="transcribe",
                language=(language or "en") if multilingual else "en",
            )
        return self._tokenizers[language]

    def _preface_tokens(self, request: DecodeRequest) -> list[int]:
        """Tokens of hotwords and prompt, which come before the start of the transcript."""
        hints = _hints(request)
        if not hints:
            return []
        tokenizer = self._tokenizer(request.language)
        return [tokenizer.sot_prev, *tokenizer.encode(" " + hints)[-_PROMPT_TOKENS:]]

    def _prompt(self, request: DecodeRequest, language: str | None) -> list[int]:
        tokenizer = self._tokenizer(language)
        prompt = [*self._preface_tokens(request), *tokenizer.sot_sequence]
        if request.prefix:
            prompt += [tokenizer.timestamp_begin, *tokenizer.encode(" " + request.prefix)]
        return prompt

    def _languages(self, requests: Sequence[DecodeRequest], encoded: Any) -> list[str | None]:
        if not self._model.model.is_multilingual:
            return ["en"] * len(requests)
        if requests[0].language is not None:
            return [request.language for request in requests]
        guesses = self._model.model.detect_language(encoded)
        return [guess[0][0].strip("<|>") for guess in guesses]

    # Word times.

    def _align(
        self,
        requests: Sequence[DecodeRequest],
        languages: Sequence[str | None],
        encoded: Any,
        decoded: Sequence[_Decoded],
    ) -> list[tuple[HypothesisWord, ...]]:
        if not requests[0].word_timestamps:
            return [()] * len(requests)
        if len(set(languages)) > 1:  # languages were detected and differ: one by one
            singles = zip(requests, languages, decoded, strict=True)
            return [self._align_alone(*single) for single in singles]
        tokenizer = self._tokenizer(languages[0])
        texts = [item.tokens for item in decoded]
        frames = [_frames_of(request) for request in requests]
        found = self._model.find_alignment(tokenizer, texts, encoded, frames)
        return [
            words_of(words, request.audio) for words, request in zip(found, requests, strict=True)
        ]

    def _align_alone(
        self, request: DecodeRequest, language: str | None, decoded: _Decoded
    ) -> tuple[HypothesisWord, ...]:
        encoded = self._encode([request.audio], decoded.context_s)
        return self._align([request], [language], encoded, [decoded])[0]


def _want_cublas(device: str) -> None:
    """CTranslate2 would miss it at the first batch, and name it by a file."""
    if device == "cpu":
        return
    from ctranslate2 import get_cuda_device_count

    if get_cuda_device_count() and not load_cublas():
        raise EngineError(MISSING)


def _devices(config: "EngineConfig") -> tuple[int, ...]:
    index = config.device_index
    return (index,) if isinstance(index, int) else tuple(index)


def _usual_workers(device: str) -> int:
    """On a CPU one inference a core is the best throughput, measured; a GPU is filled by batches.

    `auto` is a GPU where there is one, for which several workers are a waste, not a fault.
    """
    return 1 if device == "cuda" else min(_MOST_WORKERS, os.cpu_count() or 1)


def _locate(model: str, store: ModelStore) -> Path:
    """A folder given as a path, else a model of the catalogue."""
    path = Path(model).expanduser()
    return path if path.is_dir() else store.require(model)


def _hints(request: DecodeRequest) -> str:
    return " ".join([", ".join(request.hotwords), request.prompt]).strip()


def _covered_s(tokens: Sequence[int], tokenizer: Any) -> float:
    """The last timestamp; without any the decoder did not segment, and nothing tells of a rest.

    With hints or a prefix it often gives none but the 0.00 that the prompt ends with.
    """
    stamps = [token for token in tokens if token > tokenizer.timestamp_begin]
    return (stamps[-1] - tokenizer.timestamp_begin) * 0.02 if stamps else math.inf


def _joined(first: Hypothesis, second: Hypothesis, offset_ms: int) -> Hypothesis:
    moved = tuple(
        replace(word, start_ms=word.start_ms + offset_ms, end_ms=word.end_ms + offset_ms)
        for word in second.words
    )
    sure = [each.confidence for each in (first, second) if each.confidence is not None]
    return replace(
        first,
        text=f"{first.text} {second.text}".strip(),
        words=first.words + moved,
        confidence=min(sure, default=None),
    )


def _frames_of(request: DecodeRequest) -> int:
    """Mel frames that hold the request's audio; the aligner needs a few."""
    return math.ceil(max(request.seconds, _SHORTEST_S) * _FRAMES_PER_S)
