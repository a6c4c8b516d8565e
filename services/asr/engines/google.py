"""Google Cloud Speech-to-Text v2 through its own client library, on the event loop."""

import asyncio
import ipaddress
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from services.asr.engines.base import Capabilities, DecodeRequest, EngineError, Hypothesis
from services.asr.engines.google_attempt import StreamLimits
from services.asr.engines.google_call import GoogleCall, result_of, told, verdict_of
from services.asr.engines.google_request import (
    base_language,
    import_client,
    recognition_config,
    streaming_config,
)
from services.asr.engines.google_results import Transcript
from services.asr.engines.google_stream import GoogleStream
from services.asr.engines.google_tape import pcm16
from services.asr.engines.streaming import StreamOptions

if TYPE_CHECKING:
    from services.asr.config import GoogleConfig

_CALL_S = 330.0
"""Deadline of one stream, beyond the service's own."""
_FILE_PIECE_S = 60.0
"""Deadline for a piece of a recording."""
_KEEPALIVE = (("grpc.keepalive_time_ms", 20_000), ("grpc.keepalive_timeout_ms", 5_000))
"""So that a connection that silently died is noticed before somebody needs it."""
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
        self._credentials: Any = None
        self._recognizer = ""
        self._client: Any = None
        self.capabilities = Capabilities(
            model=f"google-{config.model}",
            languages=tuple(dict.fromkeys(map(base_language, config.language_codes))),
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
        import_client()
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
        speech = import_client()
        transport = speech.SpeechAsyncClient.get_transport_class("grpc_asyncio")
        host = self._host()
        made = transport(
            host=host,
            credentials=self._credentials,
            channel=self._new_channel,
            always_use_jwt_access=True,  # a key file then needs no other service for its tokens
        )
        made.grpc_channel.get_state(try_to_connect=True)
        # It looks for files of certificates.
        self._client = await asyncio.to_thread(speech.SpeechAsyncClient, transport=made)

    def open(self, options: StreamOptions) -> GoogleStream:
        return GoogleStream(lambda: self._connect(options), self._limits)

    async def transcribe(self, request: DecodeRequest) -> Hypothesis:
        speech = import_client()
        options = StreamOptions.of(request)
        asked = speech.RecognizeRequest(
            recognizer=self._recognizer,
            config=recognition_config(self._config, options),
            content=await asyncio.to_thread(pcm16, request.audio),
        )
        answer = await self._ask(self._client.recognize(asked, timeout=_FILE_PIECE_S, retry=None))
        transcript = Transcript()
        transcript.take([result_of(result, final=True) for result in answer.results])
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
        speech = import_client()
        transport = speech.SpeechAsyncClient.get_transport_class("grpc_asyncio")
        return transport.create_channel(host, **kwargs)

    async def _connect(self, options: StreamOptions) -> GoogleCall:
        if self._client is None:
            raise EngineError("Google Cloud Speech has been closed")
        from google.api_core.gapic_v1 import routing_header

        # The client library cannot see the recognizer in a stream of requests.
        routing = routing_header.to_grpc_metadata((("recognizer", self._recognizer),))
        opening = self._client.streaming_recognize(timeout=_CALL_S, metadata=(routing,))
        call = GoogleCall(await self._ask(opening))
        try:
            await call.configure(self._recognizer, streaming_config(self._config, options))
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
            raise told(*verdict_of(error)) from error


def _is_loopback(endpoint: str | None) -> bool:
    if endpoint is None:
        return False
    host = endpoint.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
