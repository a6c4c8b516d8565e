"""A streaming client of any OpenAI-compatible endpoint: vLLM, llama.cpp, OpenAI and the like."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx
import structlog

from examples.voice_agent.chat_request import names_of_tools, request_body
from examples.voice_agent.chat_stream import ChatStream, refusal
from examples.voice_agent.config import LlmConfig, LlmEndpoint
from examples.voice_agent.ports import ChatMessage, Delta, LanguageModelError, ToolSpec
from examples.voice_agent.secrets import SecretError, read_secret
from examples.voice_agent.undisturbed import to_the_end, undisturbed

USAGE_S = 1.0
"""Longest wait for the usage, once the model has said that it is done."""
COOL_DOWN_S = 20.0
"""An endpoint that failed is asked after the others for so long."""
WARM_S = 10.0
_REST_S = 0.2
_RETRY_PAUSE_S = 0.2
_ERROR_BYTES = 65_536
_KEEP_ALIVE_S = 120.0
_ELSEWHERE = frozenset({"http_401", "http_403", "http_404", "no_key", "not_a_stream"})
"""No use to repeat, but another endpoint may do it."""

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Endpoint:
    where: LlmEndpoint
    failed_at: float = float("-inf")

    @property
    def url(self) -> str:
        return f"{self.where.base_url.rstrip('/')}/chat/completions"

    def headers(self) -> dict[str, str]:
        """
        Raises:
            LanguageModelError: the key is to be had from the environment, but is not there.
        """
        if self.where.api_key_env is None:
            return {}
        try:
            return {"Authorization": f"Bearer {read_secret(self.where.api_key_env)}"}
        except SecretError as error:
            told = f"The key of {self.where.base_url} is missing: {error}."
            raise LanguageModelError(told, code="no_key", retryable=False) from None


class OpenAiLanguageModel:
    """A :class:`~examples.voice_agent.ports.LanguageModel`; one serves many calls at once.

    An attempt that fails before its first delta is repeated: at the next endpoint if there is one,
    else once more at the same, unless it was slow already. Use it as a context manager, or call
    :meth:`aclose`.
    """

    def __init__(self, config: LlmConfig) -> None:
        self._config = config
        self._endpoints = [_Endpoint(where) for where in (config, *config.fallbacks)]
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(None, connect=config.connect_s, pool=config.connect_s),
            limits=httpx.Limits(max_connections=None, keepalive_expiry=_KEEP_ALIVE_S),
            trust_env=False,
            verify=any(e.where.base_url.startswith("https:") for e in self._endpoints),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def stream(
        self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec]
    ) -> AsyncGenerator[Delta]:
        """See :meth:`~examples.voice_agent.ports.LanguageModel.stream`."""
        attempts = self._attempts()
        for number, endpoint in enumerate(attempts, 1):
            begun = False
            try:
                async with aclosing(self._attempt(endpoint, messages, tools)) as deltas:
                    async for delta in deltas:
                        begun = True
                        yield delta
                return
            except LanguageModelError as error:
                if error.retryable or error.code in _ELSEWHERE:
                    endpoint.failed_at = time.monotonic()
                following = attempts[number] if number < len(attempts) else None
                if begun or following is None or not _goes_on(error, endpoint, following):
                    raise
                log.warning("llm_retry", code=error.code, error=str(error), after=endpoint.url)
                if following is endpoint and error.code != "connection_lost":
                    await asyncio.sleep(_RETRY_PAUSE_S)

    async def warm(self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec]) -> None:
        """See :meth:`~examples.voice_agent.ports.LanguageModel.warm`."""
        endpoint = self._attempts()[0]
        body = request_body(self._config, endpoint.where.model, messages, tools)
        limit = "max_completion_tokens" if "max_completion_tokens" in body else "max_tokens"
        body |= {"stream": False, limit: 1}
        body.pop("stream_options", None)
        try:
            deadline = _Deadline(self._config.model_copy(update={"first_delta_s": WARM_S}))
            async with self._post(endpoint, body, deadline) as response:
                await undisturbed(_read_bounded(response), deadline.left_s)
                log.debug("llm_warm", status=response.status_code)
        except (LanguageModelError, TimeoutError, httpx.HTTPError) as error:
            log.info("llm_not_warm", error=str(error) or type(error).__name__, url=endpoint.url)

    def _attempts(self) -> list[_Endpoint]:
        """Endpoints in the order in which they are asked: those that failed lately are last."""
        now = time.monotonic()
        sound = [e for e in self._endpoints if now - e.failed_at >= COOL_DOWN_S]
        lame = [e for e in self._endpoints if e not in sound]
        order = [*sound, *sorted(lame, key=lambda e: e.failed_at)]
        return order if len(order) > 1 else order * 2

    async def _attempt(
        self, endpoint: _Endpoint, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec]
    ) -> AsyncGenerator[Delta]:
        body = request_body(self._config, endpoint.where.model, messages, tools)
        used = {call.call_id for message in messages for call in message.tool_calls}
        answer = ChatStream(names_of_tools(messages, tools), used)
        deadline = _Deadline(self._config)
        async with self._post(endpoint, body, deadline) as response:
            await self._check(response, deadline)
            chunks = response.aiter_bytes()
            while not answer.ended:
                for delta in await self._next(chunks, answer, deadline):
                    yield delta
            endpoint.failed_at = float("-inf")
            await _read_to_end(chunks)

    async def _next(
        self, chunks: AsyncIterator[bytes], answer: ChatStream, deadline: "_Deadline"
    ) -> list[Delta]:
        try:
            chunk = await undisturbed(_next_or_none(chunks), deadline.left_s)
        except TimeoutError:
            if answer.finished:  # all but the usage was said
                return answer.finish()
            raise deadline.error() from None
        except httpx.HTTPError as error:
            if answer.finished:
                return answer.finish()
            raise _connection_error(error) from None
        if chunk is None:
            return answer.finish()
        deltas = answer.feed(chunk)
        if answer.progressed:
            deadline.progress(done=answer.finished)
        return deltas

    @staticmethod
    async def _check(response: httpx.Response, deadline: "_Deadline") -> None:
        kind = response.headers.get("content-type", "")
        if response.status_code == 200 and kind.startswith("text/event-stream"):
            return
        try:
            body = await undisturbed(_read_bounded(response), deadline.left_s)
        except (TimeoutError, httpx.HTTPError):
            body = b""
        if response.status_code != 200:
            raise refusal(response.status_code, body)
        raise LanguageModelError(
            f"The server answers {kind or 'something'} instead of a stream of events: is "
            f"{response.url} an OpenAI-compatible endpoint?",
            code="not_a_stream",
            retryable=False,
        )

    @asynccontextmanager
    async def _post(
        self, endpoint: _Endpoint, body: dict[str, Any], deadline: "_Deadline"
    ) -> AsyncIterator[httpx.Response]:
        headers = {"Content-Type": "application/json", **endpoint.headers()}
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        try:
            request = self._http.build_request(
                "POST", endpoint.url, content=content, headers=headers
            )
            response = await undisturbed(self._http.send(request, stream=True), deadline.left_s)
        except TimeoutError:
            raise deadline.error() from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _connection_error(error, endpoint.url) from None
        try:
            yield response
        finally:
            await to_the_end(response.aclose())


class _Deadline:
    """When the next delta is due."""

    def __init__(self, config: LlmConfig) -> None:
        self._config = config
        self._what = "first word"
        self._limit = config.first_delta_s
        self._at = time.monotonic() + self._limit

    @property
    def left_s(self) -> float:
        return max(0.0, self._at - time.monotonic())

    def progress(self, *, done: bool) -> None:
        self._what = "next word"
        self._limit = USAGE_S if done else self._config.between_deltas_s
        self._at = time.monotonic() + self._limit

    def error(self) -> LanguageModelError:
        code = "first_token_timeout" if self._what == "first word" else "stalled"
        message = f"The language model's {self._what} did not come within {self._limit:g} s."
        return LanguageModelError(message, code=code, retryable=True)


def _goes_on(error: LanguageModelError, failed: _Endpoint, following: _Endpoint) -> bool:
    """Whether another attempt may help and the caller has not waited too long already."""
    if following is failed:
        return error.retryable and error.code != "first_token_timeout"
    return error.retryable or error.code in _ELSEWHERE


async def _read_to_end(chunks: AsyncIterator[bytes]) -> None:
    """What follows the answer is nothing; once it is read the connection serves the next one."""
    try:
        await undisturbed(_exhaust(chunks), _REST_S)
    except (TimeoutError, httpx.HTTPError):
        log.debug("llm_connection_not_kept")


async def _exhaust(chunks: AsyncIterator[bytes]) -> None:
    async for _ in chunks:
        pass


async def _next_or_none(chunks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(chunks, None)


async def _read_bounded(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _ERROR_BYTES:
            break
    return bytes(body)


def _connection_error(error: Exception, url: str = "") -> LanguageModelError:
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        message, code, retryable = f"{url} is no address of a server.", "bad_url", False
    elif isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        message, code, retryable = (
            f"The language model at {url} cannot be reached.",
            "unreachable",
            True,
        )
    else:
        message = f"The connection to the language model was lost ({type(error).__name__})."
        code, retryable = "connection_lost", True
    return LanguageModelError(message, code=code, retryable=retryable)
