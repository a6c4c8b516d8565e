"""JSON over HTTP to other people's servers: bounded, never redirected, with errors that help."""

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from examples.voice_agent.tools.base import SET_UP, PluginError

MAX_BYTES = 1 << 20
_RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})
_AWAY = "The customer database does not answer at the moment."


@dataclass(frozen=True, slots=True)
class JsonAnswer:
    status: int
    value: Any
    """None when the body is empty."""


class JsonHttp:
    """Made at once, connected when it is first used."""

    def __init__(self, timeout_s: float, ca_file: str | None, proxy: str | None) -> None:
        """
        Args:
            timeout_s: of connecting, and of every silence.
            ca_file: certificate authorities to trust instead of the public ones.
        """
        self._timeout_s = timeout_s
        self._ca_file = ca_file
        self._proxy = proxy
        self._client: httpx.AsyncClient | None = None
        self._making = asyncio.Lock()

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def send(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        form: Mapping[str, str] | None = None,
    ) -> JsonAnswer:
        """
        Raises:
            PluginError: unreachable, overloaded, an answer that is no JSON, or far too much of it.
        """
        client = await self._ready()
        request = client.build_request(
            method, url, params=params, headers=dict(headers or {}), json=body, data=form
        )
        try:
            response = await client.send(request, stream=True)
            try:
                content = await _read(response)
            finally:
                await response.aclose()
        except httpx.HTTPError as error:
            reason = f"{request.url.host}: {type(error).__name__} {error}".strip()
            raise PluginError(_AWAY, retryable=True, reason=reason) from None
        if response.status_code in _RETRYABLE:
            reason = f"{request.url.host} answered {response.status_code}: {content[:200]!r}"
            raise PluginError(_AWAY, retryable=True, reason=reason)
        return JsonAnswer(response.status_code, _parse(response, content))

    async def _ready(self) -> httpx.AsyncClient:
        async with self._making:
            if self._client is None:  # reading certificates takes a while
                self._client = await asyncio.to_thread(self._make)
            return self._client

    def _make(self) -> httpx.AsyncClient:
        try:
            trust = ssl.create_default_context(cafile=self._ca_file) if self._ca_file else True
        except OSError as error:
            raise PluginError(SET_UP, reason=f"{self._ca_file}: {error}") from None
        return httpx.AsyncClient(
            timeout=self._timeout_s, verify=trust, proxy=self._proxy, trust_env=False
        )


def refused(answer: JsonAnswer, url: str) -> PluginError:
    """What to raise for a status that nothing can be done about."""
    host = httpx.URL(url).host
    return PluginError(
        "The customer database refuses; the caller cannot do anything about it.",
        reason=f"{host} answered {answer.status}: {json.dumps(answer.value)[:300]}",
    )


async def _read(response: httpx.Response) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > MAX_BYTES:
            raise PluginError(
                "The customer database's answer is too long to be used.",
                reason=f"more than {MAX_BYTES} bytes from {response.url.host}",
            )
    return bytes(content)


def _parse(response: httpx.Response, content: bytes) -> Any:
    if not content.strip():
        return None
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        if response.status_code != 200:
            return content[:300].decode("utf-8", errors="replace")
    raise PluginError(
        "The customer database's answer cannot be read.",
        reason=f"{response.url.host} answered {response.status_code} with {content[:100]!r}",
    )
