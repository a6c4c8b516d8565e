"""Google's `StreamingRecognize` on this machine, with the limits of the real one, and its moods.

It understands the language of :mod:`tests.services.asr.bursts`, or what `recognise` makes of the
audio, settles results at pauses, and can be told to fail.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import grpc
import numpy as np
from google.cloud.speech_v2 import types

from services.asr.engines.base import Floats, HypothesisWord
from tests.services.asr.bursts import Bursts

_PAUSE_MS = 300
"""Silence at which results are settled."""


@dataclass(frozen=True)
class ServiceLimits:
    """Those of the documentation; tests scale them down."""

    audio_bytes: int = 25_600
    longest_s: float = 305.0
    idle_s: float = 10.0
    ahead_s: float = 5.0
    """How much more audio may have come than time has passed."""
    rate: float = 2.5
    """How much faster than real time audio may come."""


@dataclass(frozen=True)
class Fault:
    """How a stream goes wrong."""

    status: str = "UNAVAILABLE"
    """A gRPC status; or `HANG`: nothing is answered any more."""
    after_s: float = 0.0
    """Of audio."""
    at_end: bool = False
    """When all audio has come, before the last results."""


@dataclass
class Stream:
    """What came in one call."""

    request: types.StreamingRecognizeRequest
    opened: float
    metadata: dict[str, str]
    chunks: list[int] = field(default_factory=list)
    latest: float = field(default_factory=time.monotonic)
    ended: str = ""
    """`OK`, or why not."""

    @property
    def audio_s(self) -> float:
        return sum(self.chunks) / 32_000


class GoogleServer:
    """A gRPC server of the speech service; :func:`google_server` runs it."""

    def __init__(
        self,
        limits: ServiceLimits,
        recognise: Callable[[Floats], str] | None = None,
        tls: grpc.ServerCredentials | None = None,
    ) -> None:
        self.limits = limits
        self.faults: list[Fault | None] = []
        """For the next streams, one each."""
        self.broken: Fault | None = None
        """For all others."""
        self.streams: list[Stream] = []
        self.files: list[types.RecognizeRequest] = []
        self.closing = threading.Event()
        self.settles = True
        """Results are settled at pauses; else only at the end."""
        self._recognise = recognise
        self._server = grpc.server(ThreadPoolExecutor(24))
        self._server.add_generic_rpc_handlers((self._handlers(),))
        if tls is None:
            self.port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            self.port = self._server.add_secure_port("127.0.0.1:0", tls)
        self.endpoint = f"127.0.0.1:{self.port}"
        self._server.start()

    def stop(self) -> None:
        self.closing.set()
        self._server.stop(0.2).wait()

    def _handlers(self) -> Any:
        stream = grpc.stream_stream_rpc_method_handler(
            self._stream,
            types.StreamingRecognizeRequest.deserialize,
            types.StreamingRecognizeResponse.serialize,
        )
        unary = grpc.unary_unary_rpc_method_handler(
            self._file, types.RecognizeRequest.deserialize, types.RecognizeResponse.serialize
        )
        methods = {"StreamingRecognize": stream, "Recognize": unary}
        return grpc.method_handlers_generic_handler("google.cloud.speech.v2.Speech", methods)

    # One stream.

    def _stream(self, requests: Iterator[Any], context: Any) -> Iterable[Any]:
        first = next(requests, None)
        if first is None or not first.streaming_config.config.language_codes or first.audio:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the configuration comes first")
        stream = Stream(first, time.monotonic(), dict(context.invocation_metadata()))
        fault = self.faults.pop(0) if self.faults else self.broken
        self.streams.append(stream)
        stream.ended = "cancelled"
        over = threading.Event()
        threading.Thread(target=self._watch, args=(stream, context, over), daemon=True).start()
        try:
            yield from self._answers(stream, requests, context, fault)
            stream.ended = "OK"
        finally:
            over.set()

    def _answers(
        self, stream: Stream, requests: Iterator[Any], context: Any, fault: Fault | None
    ) -> Iterable[Any]:
        mind = _Mind(self._recognise, settles=self.settles)
        self._fail(stream, context, fault)
        for request in requests:
            stream.chunks.append(len(request.audio))
            stream.latest = time.monotonic()
            self._check(stream, context, request)
            mind.hear(request.audio)
            self._fail(stream, context, fault)
            yield from mind.news()
        if fault is not None and fault.at_end:
            self._fail(stream, context, replace(fault, at_end=False, after_s=0.0))
        yield from mind.end()

    def _watch(self, stream: Stream, context: Any, over: threading.Event) -> None:
        """End a stream that lives too long or gets nothing."""
        while not over.wait(0.02):
            now = time.monotonic()
            if now - stream.opened > self.limits.longest_s:
                stream.ended = "too long"
            elif now - stream.latest > self.limits.idle_s:
                stream.ended = "idle"
            else:
                continue
            context.cancel()
            return

    def _check(self, stream: Stream, context: Any, request: Any) -> None:
        limits, passed = self.limits, time.monotonic() - stream.opened
        if request.streaming_config or not request.audio:
            self._abort(stream, context, "INVALID_ARGUMENT", "only audio after the configuration")
        if len(request.audio) > limits.audio_bytes:
            sentence = f"Audio chunk can be of a maximum of {limits.audio_bytes} bytes"
            self._abort(stream, context, "INVALID_ARGUMENT", sentence)
        if max(passed, stream.audio_s) > limits.longest_s:
            self._abort(stream, context, "OUT_OF_RANGE", "Exceeded maximum stream duration")
        if stream.audio_s > limits.ahead_s + limits.rate * passed:
            self._abort(stream, context, "OUT_OF_RANGE", "Audio should be sent close to real time")

    def _fail(self, stream: Stream, context: Any, fault: Fault | None) -> None:
        if fault is None or fault.at_end or stream.audio_s < fault.after_s:
            return
        if fault.status == "HANG":
            while context.is_active() and not self.closing.wait(0.05):
                pass
            stream.ended = "hung"
        self._abort(
            stream, context, fault.status if fault.status != "HANG" else "ABORTED", "told to"
        )

    def _abort(self, stream: Stream, context: Any, status: str, sentence: str) -> None:
        stream.ended = stream.ended if stream.ended == "hung" else f"{status}: {sentence}"
        with contextlib.suppress(ValueError):  # the client is gone already
            context.abort(grpc.StatusCode[status], sentence)

    def _file(self, request: Any, context: Any) -> Any:
        self.files.append(request)
        if self.broken is not None:
            context.abort(grpc.StatusCode[self.broken.status], "told to")
        mind = _Mind(self._recognise, settles=False)
        mind.hear(request.content)
        results = [result for answer in mind.end() for result in answer.results]
        found = [
            types.SpeechRecognitionResult(
                alternatives=result.alternatives,
                result_end_offset=result.result_end_offset,
                language_code=result.language_code,
            )
            for result in results
        ]
        return types.RecognizeResponse(results=found)


class _Mind:
    """What one stream understands."""

    def __init__(self, recognise: Callable[[Floats], str] | None, *, settles: bool) -> None:
        self._ear = Bursts()
        self._recognise = recognise
        self._settles = settles and recognise is None
        self._settled = 0
        self._told = ""
        self._audio: list[Floats] = []

    def hear(self, audio: bytes) -> None:
        samples = np.frombuffer(audio, dtype="<i2").astype(np.float32) / np.float32(32_768)
        self._audio.append(samples)
        self._ear.push(samples)

    def news(self) -> Iterator[Any]:
        words = self._ear.all()[self._settled :]
        if words and self._settles and self._ear.quiet_ms >= _PAUSE_MS:
            yield self._final(words)
            return
        text = " ".join(word.word for word in words)
        if text == self._told or not text or self._recognise is not None:
            return
        self._told = text
        portions = ((words[:-1], 0.9), (words[-1:], 0.01))
        results = [_interim(part, stability) for part, stability in portions if part]
        yield types.StreamingRecognizeResponse(results=results)

    def end(self) -> Iterator[Any]:
        if self._recognise is not None:
            text = self._recognise(np.concatenate(self._audio))
            yield _response(text, [], len(np.concatenate(self._audio)) // 16)
        elif words := self._ear.all()[self._settled :]:
            yield self._final(words)

    def _final(self, words: list[HypothesisWord]) -> Any:
        self._settled += len(words)
        self._told = ""
        return _response(" ".join(word.word for word in words), words, self._ear.heard_ms)


def _interim(words: list[HypothesisWord], stability: float) -> Any:
    text = " " + " ".join(word.word for word in words)
    best = types.SpeechRecognitionAlternative(transcript=text)
    return types.StreamingRecognitionResult(alternatives=[best], stability=stability)


def _response(text: str, words: list[HypothesisWord], end_ms: int) -> Any:
    best = types.SpeechRecognitionAlternative(
        transcript=text,
        confidence=0.8,
        words=[
            types.WordInfo(
                word=word.word,
                start_offset=timedelta(milliseconds=word.start_ms),
                end_offset=timedelta(milliseconds=word.end_ms),
                confidence=word.confidence,
            )
            for word in words
        ],
    )
    result = types.StreamingRecognitionResult(
        alternatives=[best],
        is_final=True,
        result_end_offset=timedelta(milliseconds=end_ms),
        language_code="en-us",
    )
    return types.StreamingRecognizeResponse(results=[result])


@contextlib.contextmanager
def google_server(
    limits: ServiceLimits | None = None, recognise: Callable[[Floats], str] | None = None
) -> Iterator[GoogleServer]:
    server = GoogleServer(limits or ServiceLimits(), recognise)
    try:
        yield server
    finally:
        server.stop()
