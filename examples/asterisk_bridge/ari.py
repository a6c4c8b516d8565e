"""A client of the Asterisk REST Interface: commands with a time limit each, and typed errors."""

import re
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from examples.asterisk_bridge.ari_events import Bridge, Channel
from examples.asterisk_bridge.config import AriConfig
from examples.voice_agent.undisturbed import undisturbed

T = TypeVar("T")

_CHANNELS = TypeAdapter(tuple[Channel, ...])
_BRIDGES = TypeAdapter(tuple[Bridge, ...])


class AriError(Exception):
    """Asterisk did not do what it was asked for; the sentence says what and why."""


class AriUnreachable(AriError):
    """No answer: Asterisk is down, restarting, or overloaded. Worth another try."""


class AriRefused(AriError):
    """Asterisk answered, with an error."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class AriNotFound(AriRefused):
    """The channel or bridge is gone: for who wanted to end it, that is as good."""


class AriConflict(AriRefused):
    """The channel is not (or no longer) in our application."""


class Info(BaseModel):
    """Of the running Asterisk."""

    version: str

    @property
    def release(self) -> tuple[int, ...]:
        """ "22.10.1+dfsg" as (22, 10, 1)."""
        found = re.match(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?", self.version.removeprefix("GIT-"))
        return tuple(int(number) for number in found.groups(default="0")) if found else ()


class Ari:
    """Commands to one Asterisk. A context manager; safe for many tasks at once."""

    def __init__(self, config: AriConfig) -> None:
        self._app = config.app
        self._http = httpx.AsyncClient(
            base_url=f"{str(config.url).rstrip('/')}/ari/",
            auth=(config.username, config.password.get_secret_value()),
            timeout=httpx.Timeout(config.request_s),
            limits=httpx.Limits(max_connections=config.max_connections, keepalive_expiry=10),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def info(self) -> Info:
        answer = await self._request("GET", "asterisk/info", {"only": "system"})
        return Info(version=str(answer.get("system", {}).get("version", "")))

    async def has_module(self, name: str) -> bool:
        """Whether a module (`chan_websocket.so`) is loaded and running."""
        try:
            answer = await self._request("GET", f"asterisk/modules/{name}")
        except AriRefused:
            return False
        return bool(answer.get("status") == "Running")

    async def channels(self) -> tuple[Channel, ...]:
        return _valid(_CHANNELS, await self._request("GET", "channels"))

    async def bridges(self) -> tuple[Bridge, ...]:
        return _valid(_BRIDGES, await self._request("GET", "bridges"))

    async def answer(self, channel_id: str) -> None:
        await self._request("POST", f"channels/{channel_id}/answer")

    async def hang_up(self, channel_id: str, reason: str = "normal") -> None:
        """`reason`: normal, busy, congestion, no_answer, … as Asterisk names them."""
        await self._request("DELETE", f"channels/{channel_id}", {"reason": reason})

    async def continue_in_dialplan(
        self, channel_id: str, *, context: str = "", extension: str = "", priority: int = 0
    ) -> None:
        """Give a channel back to the dial plan: behind its Stasis(), or where it is told."""
        where: dict[str, Any] = {"context": context, "extension": extension, "priority": priority}
        given = {key: value for key, value in where.items() if value}
        await self._request("POST", f"channels/{channel_id}/continue", given)

    async def set_variable(self, channel_id: str, name: str, value: str) -> None:
        path = f"channels/{channel_id}/variable"
        await self._request("POST", path, {"variable": name, "value": value})

    async def variable(self, channel_id: str, name: str) -> str:
        """Of a channel; "" when it is not set."""
        try:
            answer = await self._request(
                "GET", f"channels/{channel_id}/variable", {"variable": name}
            )
        except AriNotFound:
            return ""
        return str(answer.get("value", ""))

    async def send_dtmf(self, channel_id: str, digits: str) -> None:
        await self._request("POST", f"channels/{channel_id}/dtmf", {"dtmf": digits})

    async def external_media(self, channel_id: str, **parameters: str) -> Channel:
        """Make a media channel with this id, which then enters our application."""
        query = {"channelId": channel_id, "app": self._app, **parameters}
        answer = await self._request("POST", "channels/externalMedia", query)
        return _valid(TypeAdapter(Channel), answer)

    async def create_bridge(self, bridge_id: str) -> None:
        await self._request("POST", "bridges", {"type": "mixing", "bridgeId": bridge_id})

    async def add_to_bridge(self, bridge_id: str, *channel_ids: str) -> None:
        path = f"bridges/{bridge_id}/addChannel"
        await self._request("POST", path, {"channel": ",".join(channel_ids)})

    async def destroy_bridge(self, bridge_id: str) -> None:
        await self._request("DELETE", f"bridges/{bridge_id}")

    async def _request(self, method: str, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """One command; the answer's JSON, None when it has none.

        Raises:
            AriUnreachable: no answer in time.
            AriRefused: an error; the status' own class where there is one.
        """
        try:
            answer = await undisturbed(self._http.request(method, path, params=query))
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            raise AriUnreachable(f"Asterisk does not answer {method} {path}: {why}") from None
        if answer.is_success:
            return answer.json() if answer.content else None
        raise _refusal(method, path, answer)


def _refusal(method: str, path: str, answer: httpx.Response) -> AriRefused:
    try:
        body = answer.json()
        why = str(body.get("message") or body.get("error") or body)
    except (ValueError, AttributeError):
        why = answer.text[:200]
    sentence = f"Asterisk refuses {method} {path}: {answer.status_code} {why}"
    if answer.status_code == 401:
        sentence += " (user and password are those of ari.conf)"
    kind = {404: AriNotFound, 409: AriConflict}.get(answer.status_code, AriRefused)
    return kind(sentence, answer.status_code)


def _valid(adapter: TypeAdapter[T], answer: Any) -> T:
    try:
        return adapter.validate_python(answer)
    except ValidationError as error:
        raise AriError(f"Asterisk's answer cannot be read: {error}") from None
