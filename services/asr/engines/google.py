"""Google Cloud Speech-to-Text v2 through its own client library, on the event loop."""

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

import structlog

from services.asr.engines.base import (
    Capabilities,
    DecodeRequest,
    EngineError,
    Hypothesis,
    HypothesisWord,
)
from services.asr.engines.google_errors import GoogleError, error_of
from services.asr.engines.google_results import Result, Transcript
from services.asr.engines.google_stream import GoogleStream, StreamLimits, pcm16
from services.asr.engines.streaming import StreamOptions

if TYPE_CHECKING:
    from services.asr.config import GoogleConfig

log = structlog.get_logger(__name__)

_CALL_S = 330.0
"""Deadline of one stream, beyond the service's own."""
_FILE_PIECE_S = 60.0
"""Deadline for a piece of a recording."""
_PHRASES = 200
_PHRASE_CHARS = 100
"""Google's limit for one phrase."""
_KEEPALIVE = (("grpc.keepalive_time_ms", 20_000), ("grpc.keepalive_timeout_ms", 5_000))
"""So that a connection that silently died is noticed before somebody needs it."""
_VERDICT_S = 0.5
"""How long the service's status may come after a write that failed because of it."""
_WRITE_FAILED = "Internal error from Core"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class GoogleEngine:
    """A :class:`.StreamingEngine`; all sessions share one connection."""

    def __init__(self, config: "GoogleConfig", *, idle_s: float = 5.0) -> None:
        self._config = config
        self._limits = StreamLimits(
            idle_s=idle_s,
            roll_s=config.roll_s,
            longest_s=config.longest_stream_s,
            rate=config.replay_rate,
            connect_s=config.connect_timeout_s,
            final_s=config.final_timeout_s,
        )
        self._languages = {_base(code): code for code in reversed(config.language_codes)}
        self._credentials: Any = None
        self._recognizer = ""
        self._client: Any = None
        self.capabilities = Capabilities(
            model=f"google-{config.model}",
            languages=tuple(dict.fromkeys(map(_base, config.language_codes))),
            max_seconds=config.segment_s,
            word_timestamps=config.word_times,
            max_batch=1,
            streaming=True,
        )

    def load(self) -> None:
        """Import the library and find the credentials.

        Raises:
            EngineError: says what is missing.
        """
        _import_client()
        if _is_loopback(self._config.endpoint):
            self._credentials, project = _no_credentials(), self._config.project or "local"
        else:
            self._credentials, found = _credentials()
            project = self._config.project or found or ""
        if not project:
            raise EngineError(
                "the Google credentials name no project; set engine.google.project", lasting=True
            )
        location, recognizer = self._config.location, self._config.recognizer
        self._recognizer = f"projects/{project}/locations/{location}/recognizers/{recognizer}"

    async def start(self) -> None:
        """Begin to connect, so that the first caller need not wait for it."""
        _keep_grpc_running()
        speech = _import_client()
        transport = speech.SpeechAsyncClient.get_transport_class("grpc_asyncio")
        host = self._host()
        made = transport(host=host, credentials=self._credentials, channel=self._new_channel)
        made.grpc_channel.get_state(try_to_connect=True)
        # It looks for files of certificates.
        self._client = await asyncio.to_thread(speech.SpeechAsyncClient, transport=made)

    def open(self, options: StreamOptions) -> GoogleStream:
        return GoogleStream(lambda: self._connect(options), self._limits)

    async def transcribe(self, request: DecodeRequest) -> Hypothesis:
        speech = _import_client()
        options = StreamOptions.of(request)
        asked = speech.RecognizeRequest(
            recognizer=self._recognizer,
            config=self._recognition_config(options),
            content=await asyncio.to_thread(pcm16, request.audio),
        )
        answer = await self._ask(self._client.recognize(asked, timeout=_FILE_PIECE_S, retry=None))
        transcript = Transcript()
        transcript.take([_result(result, final=True) for result in answer.results])
        return transcript.hypothesis()

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.transport.close()

    # Connections.

    def _host(self) -> str:
        config = self._config
        if config.endpoint is not None:
            return config.endpoint
        prefix = "" if config.location == "global" else f"{config.location}-"
        return f"{prefix}speech.googleapis.com:443"

    def _new_channel(self, host: str, **kwargs: Any) -> Any:
        kwargs["options"] = [*kwargs.get("options", ()), *_KEEPALIVE]
        if _is_loopback(self._config.endpoint):
            from grpc import aio

            return aio.insecure_channel(host, options=kwargs["options"])
        speech = _import_client()
        transport = speech.SpeechAsyncClient.get_transport_class("grpc_asyncio")
        return transport.create_channel(host, **kwargs)

    async def _connect(self, options: StreamOptions) -> "_Call":
        if self._client is None:
            raise EngineError("Google Cloud Speech has been closed")
        from google.api_core.gapic_v1 import routing_header

        # The client library cannot see the recognizer in a stream of requests.
        routing = routing_header.to_grpc_metadata((("recognizer", self._recognizer),))
        opening = self._client.streaming_recognize(timeout=_CALL_S, metadata=(routing,))
        call = _Call(await self._ask(opening))
        try:
            await call.configure(self._recognizer, self._streaming_config(options))
        except BaseException:
            call.cancel()
            raise
        return call

    async def _ask(self, calling: Awaitable[Any]) -> Any:
        """Await the library, with its errors in our words."""
        from google.api_core.exceptions import GoogleAPICallError

        try:
            return await calling
        except GoogleAPICallError as error:
            raise _told(*_verdict_of(error)) from error

    # What is asked of the service.

    def _streaming_config(self, options: StreamOptions) -> Any:
        speech = _import_client()
        return speech.StreamingRecognitionConfig(
            config=self._recognition_config(options),
            streaming_features=speech.StreamingRecognitionFeatures(interim_results=True),
        )

    def _recognition_config(self, options: StreamOptions) -> Any:
        speech = _import_client()
        wanted = self._languages.get(options.language or "")
        return speech.RecognitionConfig(
            explicit_decoding_config=speech.ExplicitDecodingConfig(
                encoding=speech.ExplicitDecodingConfig.AudioEncoding.LINEAR16,
                sample_rate_hertz=16_000,
                audio_channel_count=1,
            ),
            model=self._config.model,
            language_codes=[wanted] if wanted else list(self._config.language_codes),
            features=speech.RecognitionFeatures(
                enable_automatic_punctuation=True,
                # Also unasked: they tell between which words a long stream may be cut.
                enable_word_time_offsets=self._config.word_times,
                enable_word_confidence=self._config.word_times and options.word_timestamps,
            ),
            adaptation=self._adaptation(options),
        )

    def _adaptation(self, options: StreamOptions) -> Any:
        speech = _import_client()
        phrases = phrases_of(options)
        if not phrases:
            return None
        boost = self._config.phrase_boost
        phrase_set = speech.PhraseSet(
            phrases=[speech.PhraseSet.Phrase(value=value, boost=boost) for value in phrases]
        )
        inline = speech.SpeechAdaptation.AdaptationPhraseSet(inline_phrase_set=phrase_set)
        return speech.SpeechAdaptation(phrase_sets=[inline])


class _Call:
    """One `StreamingRecognize` of the client library."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._speech = _import_client()
        self._verdict: tuple[str, str] | None = None
        """The status that the service ended the call with, and its details."""
        self._ended = asyncio.Event()
        call.add_done_callback(self._note_verdict)

    async def configure(self, recognizer: str, config: Any) -> None:
        await self._write(
            self._speech.StreamingRecognizeRequest(recognizer=recognizer, streaming_config=config)
        )

    async def send(self, audio: bytes) -> None:
        await self._write(self._speech.StreamingRecognizeRequest(audio=audio))

    async def end(self) -> None:
        await self._unless_over(self._call.done_writing())

    async def results(self) -> AsyncIterator[Sequence[Result]]:
        from google.api_core.exceptions import GoogleAPICallError

        try:
            async for response in self._call:
                yield [_result(result, final=result.is_final) for result in response.results]
        except GoogleAPICallError as error:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_VERDICT_S):
                    await self._ended.wait()
            raise _told(*(self._verdict or _verdict_of(error))) from error

    def cancel(self) -> None:
        self._call.cancel()

    async def _write(self, request: Any) -> None:
        await self._unless_over(self._call.write(request))

    async def _unless_over(self, writing: Awaitable[None]) -> None:
        """When the call is over, its results tell why: leave it to whoever reads them."""
        from google.api_core.exceptions import GoogleAPICallError

        try:
            await writing
        except (GoogleAPICallError, asyncio.InvalidStateError):
            await asyncio.Event().wait()

    def _note_verdict(self, call: Any) -> None:
        """Keep the service's status: a write that fails because of it replaces it (grpc #36066)."""
        code, details = _at_once(call.code()), str(_at_once(call.details()))
        if self._verdict is None and details != _WRITE_FAILED:
            self._verdict = (code.name, details)
            self._ended.set()


def _at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that does not wait, as those of a call that is over."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise RuntimeError("the call is not over")


def _verdict_of(error: Any) -> tuple[str, str]:
    code = error.grpc_status_code
    return "UNKNOWN" if code is None else str(code.name), str(error.message)


def _told(status: str, detail: str) -> GoogleError:
    """An error in our words; Google's own may name what is not the client's business."""
    log.warning("google ended a call", status=status, detail=detail)
    return error_of(status)


def _result(result: Any, *, final: bool) -> Result:
    """From the library's message; 0 and empty stand for "not told" there."""
    best = result.alternatives[0] if result.alternatives else None
    sure = (best.confidence or None) if best is not None and final else None
    words = tuple(
        HypothesisWord(
            word.word, _ms(word.start_offset), _ms(word.end_offset), word.confidence or sure or 0.0
        )
        for word in (best.words if best is not None and final else ())
    )
    return Result(
        text=best.transcript if best is not None else "",
        final=final,
        end_ms=_ms(result.result_end_offset),
        language=_base(result.language_code) if result.language_code else None,
        confidence=sure,
        words=words,
    )


def _ms(offset: Any) -> int:
    return round(float(offset.total_seconds()) * 1000)


def phrases_of(options: StreamOptions) -> list[str]:
    """Hotwords, and the prompt's clauses, as phrases that Google takes."""
    clauses = options.prompt.replace(";", ",").replace(".", ",").replace("\n", ",").split(",")
    phrases = [*options.hotwords, *clauses]
    short = (" ".join(phrase.split())[:_PHRASE_CHARS].strip() for phrase in phrases)
    return list(dict.fromkeys(phrase for phrase in short if phrase))[:_PHRASES]


def _base(code: str) -> str:
    """`en` of `en-US`."""
    return code.split("-")[0].lower()


def _is_loopback(endpoint: str | None) -> bool:
    if endpoint is None:
        return False
    host = endpoint.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _import_client() -> Any:
    try:
        from google.cloud import speech_v2
    except ImportError as error:
        raise EngineError(
            "google-cloud-speech is not available. Install it with: uv sync --group google",
            lasting=True,
        ) from error
    return speech_v2


def _keep_grpc_running() -> None:
    """Hold gRPC's own thread, which the last connection else joins: on the event loop."""
    from grpc import aio

    aio.init_grpc_aio()


def _no_credentials() -> Any:
    from google.auth.credentials import AnonymousCredentials

    return AnonymousCredentials()  # type: ignore[no-untyped-call, unused-ignore]


def _credentials() -> tuple[Any, str | None]:
    """The service's credentials, and the project that they belong to."""
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    try:
        credentials, project = google.auth.default(scopes=[_SCOPE])
    except DefaultCredentialsError as error:
        raise EngineError(
            "no Google credentials. Set GOOGLE_APPLICATION_CREDENTIALS to the file of a service "
            f"account's key: {error}",
            lasting=True,
        ) from error
    return credentials, project
