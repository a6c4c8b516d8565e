"""Zoho CRM over its REST interface, version 8.

https://www.zoho.com/crm/developer/docs/api/v8/search-records.html
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from examples.voice_agent.tools.base import PluginError, missing_secrets, secret
from examples.voice_agent.tools.crm.base import CrmSettings, FieldPath, Kind, Record, Wanted, told
from examples.voice_agent.tools.crm.json_http import JsonAnswer, JsonHttp, refused

_EARLY_S = 60.0
"""A token is renewed so long before it expires."""
_REFUSED = "The customer database refuses; the caller cannot do anything about it."


class ZohoSettings(CrmSettings):
    backend: Literal["zoho"]
    accounts_url: Annotated[str, Field(pattern=r"^https://")] = "https://accounts.zoho.com"
    """Of your data centre: .eu, .in, .com.au, .jp …"""
    client_id_env: str = "ZOHO_CLIENT_ID"
    client_secret_env: str = "ZOHO_CLIENT_SECRET"
    refresh_token_env: str = "ZOHO_REFRESH_TOKEN"
    """Of a self client with the scope ZohoCRM.modules.READ."""
    module: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")] = "Contacts"
    by_phone: bool = True
    by_email: bool = True
    reference_field: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")] | None = None
    fields: Annotated[dict[str, FieldPath], Field(min_length=1)] = Field(
        default_factory=lambda: {
            "name": "Full_Name",
            "company": "Account_Name.name",
            "email": "Email",
            "phone": "Phone",
            "notes": "Description",
        }
    )
    """Name for the model → name in Zoho."""
    ca_file: str | None = None
    proxy: str | None = None


class ZohoCrm:
    """See :class:`~examples.voice_agent.tools.crm.base.Crm`."""

    def __init__(self, settings: ZohoSettings, timeout_s: float) -> None:
        self._settings = settings
        self._http = JsonHttp(timeout_s, settings.ca_file, settings.proxy)
        self._token = ""
        self._api_url = ""
        self._expires_at = 0.0
        self._renewing = asyncio.Lock()

    @property
    def kinds(self) -> Sequence[Kind]:
        kinds: list[Kind] = []
        kinds += ["phone"] if self._settings.by_phone else []
        kinds += ["email"] if self._settings.by_email else []
        kinds += ["reference"] if self._settings.reference_field else []
        return kinds

    def missing(self) -> Sequence[str]:
        settings = self._settings
        return missing_secrets(
            settings.client_id_env, settings.client_secret_env, settings.refresh_token_env
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    async def find(self, wanted: Wanted, limit: int) -> Sequence[Record]:
        for search in self._searches(wanted):
            names = {path.partition(".")[0] for path in self._settings.fields.values()}
            more = {"fields": ",".join(sorted(names)), "per_page": str(limit)}
            if records := await self._search(search | more):
                return [told(record, self._settings.fields) for record in records[:limit]]
        return ()

    def _searches(self, wanted: Wanted) -> list[dict[str, str]]:
        """What is asked, one after the other until something is found."""
        if wanted.phone is not None:
            forms = dict.fromkeys((wanted.phone.best, wanted.phone.national_digits))
            return [{"phone": form} for form in forms]
        if wanted.email is not None:
            return [{"email": wanted.email}]
        value = _escaped(wanted.reference or "")
        return [{"criteria": f"({self._settings.reference_field}:equals:{value})"}]

    async def _search(self, params: dict[str, str]) -> list[dict[str, Any]]:
        token = await self._valid_token()
        answer = await self._get(params, token)
        if answer.status == 401:  # revoked, or expired before its time
            answer = await self._get(params, await self._valid_token(instead_of=token))
        if answer.status == 204:
            return []
        if answer.status != 200 or not isinstance(answer.value, dict):
            raise refused(answer, self._api_url)
        return [item for item in answer.value.get("data") or [] if isinstance(item, dict)]

    async def _get(self, params: dict[str, str], token: str) -> JsonAnswer:
        url = f"{self._api_url}/crm/v8/{self._settings.module}/search"
        headers = {"Authorization": f"Zoho-oauthtoken {token}"}
        return await self._http.send("GET", url, params=params, headers=headers)

    # The token.

    async def _valid_token(self, *, instead_of: str | None = None) -> str:
        """One renewal serves all calls: Zoho allows ten in ten minutes."""
        async with self._renewing:
            expired = time.monotonic() >= self._expires_at
            if expired or self._token == instead_of:
                await self._renew()
            return self._token

    async def _renew(self) -> None:
        settings = self._settings
        form = {
            "grant_type": "refresh_token",
            "client_id": secret(settings.client_id_env),
            "client_secret": secret(settings.client_secret_env),
            "refresh_token": secret(settings.refresh_token_env),
        }
        url = f"{settings.accounts_url.rstrip('/')}/oauth/v2/token"
        answer = await self._http.send("POST", url, form=form)
        value = answer.value if isinstance(answer.value, dict) else {}
        token, api_url = value.get("access_token"), value.get("api_domain")
        if answer.status != 200 or not token or not str(api_url).startswith("https://"):
            error = value.get("error", "no token")  # Zoho says so with status 200
            raise PluginError(_REFUSED, reason=f"{url} answered {answer.status}: {error}")
        self._token, self._api_url = str(token), str(api_url).rstrip("/")
        lifetime = float(value.get("expires_in", 3600))
        self._expires_at = time.monotonic() + max(lifetime - _EARLY_S, lifetime / 2)


def _escaped(value: str) -> str:
    """Within criteria these have a meaning."""
    return "".join(f"\\{c}" if c in "\\()," else c for c in value)
