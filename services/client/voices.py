"""A client of `/v1/voices`: the voices of a service, and those that one clones."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self
from urllib.parse import quote

import httpx

from services.client.connection import ServiceError, headers_for, refusal, verified_by
from services.tts.voice_messages import VoiceDetail, VoiceInfo, VoiceList

_TIMEOUT_S = 120.0
"""An engine may take this long to compute a voice behind live speech."""

_BYTES = "application/octet-stream"
"""The service finds out for itself what kind of audio it is."""


class Voices:
    """The voices that a key may use. Methods raise ServiceError; its `code` says why."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    @classmethod
    @asynccontextmanager
    async def at(
        cls, url: str, *, key: str | None = None, tls: ssl.SSLContext | None = None
    ) -> AsyncIterator[Self]:
        """Of the service at `http://host:port`."""
        timeout = httpx.Timeout(_TIMEOUT_S, connect=10.0)
        async with httpx.AsyncClient(
            base_url=url,
            timeout=timeout,
            trust_env=False,
            headers=headers_for(key),
            verify=verified_by(url, tls),
        ) as http:
            yield cls(http)

    async def list(self) -> tuple[VoiceInfo, ...]:
        """Built-in ones first, then one's own."""
        return VoiceList.model_validate_json(await self._ask("GET", "/v1/voices")).voices

    async def get(self, voice_id: str) -> VoiceDetail:
        return VoiceDetail.model_validate_json(await self._ask("GET", _path(voice_id)))

    async def create(
        self, file: Path, *, name: str, language: str, consent: str, engine: str | None = None
    ) -> VoiceDetail:
        """Clone a voice.

        Args:
            file: 3 to 60 s of one person's speech, in any common audio format.
            language: BCP 47 tag that the voice shall speak.
            consent: who consented to this, and how; it is kept.
            engine: None: the service chooses.
        """
        fields = {"name": name, "language": language, "consent": consent}
        fields |= {"engine": engine} if engine else {}
        data = await asyncio.to_thread(file.read_bytes)
        answer = await self._ask("POST", "/v1/voices", fields, {"file": (file.name, data, _BYTES)})
        return VoiceDetail.model_validate_json(answer)

    async def rename(self, voice_id: str, name: str) -> VoiceDetail:
        answer = await self._ask("PATCH", _path(voice_id), json={"name": name})
        return VoiceDetail.model_validate_json(answer)

    async def delete(self, voice_id: str) -> None:
        """Gone at once here, within `voices.refresh_s` on every other instance."""
        await self._ask("DELETE", _path(voice_id))

    async def sample(self, voice_id: str, file_format: str = "wav") -> bytes:
        """A sentence in this voice, as a file."""
        return await self._ask("GET", f"{_path(voice_id)}/sample?format={file_format}")

    async def _ask(
        self,
        method: str,
        path: str,
        data: dict[str, str] | None = None,
        files: dict[str, tuple[str, bytes, str]] | None = None,
        json: dict[str, str] | None = None,
    ) -> bytes:
        try:
            answer = await self._http.request(method, path, data=data, files=files, json=json)
        except httpx.HTTPError as error:
            what = error or type(error).__name__
            raise ServiceError(f"{self._http.base_url} failed: {what}") from None
        if not answer.is_success:
            raise refusal(answer.status_code, answer.content, answer.headers)
        return answer.content


def _path(voice_id: str) -> str:
    return f"/v1/voices/{quote(voice_id, safe='')}"
