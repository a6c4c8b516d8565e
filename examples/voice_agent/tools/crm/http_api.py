"""Any customer database with an HTTP interface that speaks JSON."""

import base64
from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote

from pydantic import Field, model_validator

from examples.voice_agent.tools.base import PluginError, missing_secrets, secret
from examples.voice_agent.tools.crm.base import CrmSettings, Kind, Record, Wanted, told, value_at
from examples.voice_agent.tools.crm.json_http import JsonHttp, refused

_PLACEHOLDERS: Mapping[Kind, frozenset[str]] = {
    "phone": frozenset({"phone", "phone_digits", "phone_national"}),
    "email": frozenset({"email"}),
    "reference": frozenset({"reference"}),
}


class HttpLookup(CrmSettings):
    """One way to find customers."""

    url: Annotated[str, Field(pattern=r"^https?://[^{}/?#\s]+([/?][^\s]*)?$")]
    """With placeholders after the host: {phone} (+84901234567), {phone_digits} (84901234567),
    {phone_national} (0901234567), {email} or {reference}. Values are percent-encoded."""
    method: Literal["GET", "POST"] = "GET"
    body: dict[str, Any] | None = None
    """Of a POST, as JSON, with the same placeholders in its strings."""


class HttpCrmSettings(CrmSettings):
    backend: Literal["http"]
    lookups: Annotated[dict[Kind, HttpLookup], Field(min_length=1)]
    records: str = ""
    """Where the list of records is in the answer, e.g. "data.items"; "": the answer itself. A
    single object is a list of one."""
    fields: dict[str, str] = Field(default_factory=dict)
    """Name for the model → where the value is in a record. Empty: whole records."""
    headers: dict[str, str] = Field(default_factory=dict)
    auth: Literal["none", "bearer", "basic", "header"] = "none"
    secret_env: str | None = None
    """Environment variable with the token, the password, or the header's value."""
    username: str = ""
    header: str = "X-API-Key"
    ca_file: str | None = None
    proxy: str | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.auth != "none") != (self.secret_env is not None):
            raise ValueError("auth and secret_env belong together")
        for kind, lookup in self.lookups.items():
            used = _placeholders(lookup.url) | _placeholders_within(lookup.body)
            if not used or used - _PLACEHOLDERS[kind]:
                names = ", ".join(f"{{{name}}}" for name in sorted(_PLACEHOLDERS[kind]))
                raise ValueError(f"the lookup by {kind} needs placeholders, of {names}")
        return self


class HttpCrm:
    """See :class:`~examples.voice_agent.tools.crm.base.Crm`."""

    def __init__(self, settings: HttpCrmSettings, timeout_s: float) -> None:
        self._settings = settings
        self._http = JsonHttp(timeout_s, settings.ca_file, settings.proxy)

    @property
    def kinds(self) -> Sequence[Kind]:
        return tuple(self._settings.lookups)

    def missing(self) -> Sequence[str]:
        return missing_secrets(self._settings.secret_env)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def find(self, wanted: Wanted, limit: int) -> Sequence[Record]:
        lookup = self._settings.lookups[wanted.kind]
        values = _values(wanted)
        encoded = {name: quote(value, safe="") for name, value in values.items()}
        url = lookup.url.format_map(encoded)
        body = _filled(lookup.body, values)
        answer = await self._http.send(lookup.method, url, headers=self._headers(), body=body)
        if answer.status == 404:
            return ()
        if answer.status not in (200, 204):
            raise refused(answer, url)
        return self._records(answer.value)[:limit]

    def _headers(self) -> dict[str, str]:
        settings, headers = self._settings, dict(self._settings.headers)
        if settings.secret_env is None:
            return headers
        value = secret(settings.secret_env)
        if settings.auth == "bearer":
            headers["Authorization"] = f"Bearer {value}"
        elif settings.auth == "basic":
            pair = base64.b64encode(f"{settings.username}:{value}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        else:
            headers[settings.header] = value
        return headers

    def _records(self, value: Any) -> list[Record]:
        found = value_at(value, self._settings.records)
        items = found if isinstance(found, list) else [] if found is None else [found]
        if not all(isinstance(item, Mapping) for item in items):
            raise PluginError(
                "The customer database's answer cannot be read.",
                reason=f"there are no objects at {self._settings.records!r}",
            )
        fields = self._settings.fields
        return [told(item, fields) if fields else item for item in items]


def _values(wanted: Wanted) -> dict[str, str]:
    if wanted.phone is None:
        return {wanted.kind: wanted.value}
    return {
        "phone": wanted.phone.best,
        "phone_digits": wanted.phone.digits,
        "phone_national": wanted.phone.national_digits,
    }


def _placeholders(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name is not None}


def _placeholders_within(body: Any) -> set[str]:
    if isinstance(body, str):
        return _placeholders(body)
    inner = body.values() if isinstance(body, Mapping) else body if isinstance(body, list) else ()
    return set().union(*(_placeholders_within(item) for item in inner))


def _filled(body: Any, values: Mapping[str, str]) -> Any:
    if isinstance(body, str):
        return body.format_map(values)
    if isinstance(body, Mapping):
        return {key: _filled(item, values) for key, item in body.items()}
    return [_filled(item, values) for item in body] if isinstance(body, list) else body
