"""Salesforce, through `simple-salesforce`, which blocks: it runs in a few threads of its own."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from examples.voice_agent.tools.base import (
    SET_UP,
    PluginError,
    missing_secrets,
    optional_library,
    secret,
)
from examples.voice_agent.tools.crm.base import CrmSettings, FieldPath, Kind, Record, Wanted, told

if TYPE_CHECKING:
    import requests
    from simple_salesforce.api import Salesforce

_THREADS = 4
_RETRYABLE = frozenset({408, 429, 500, 502, 503, 504})
_REFUSED = "The customer database refuses; the caller cannot do anything about it."
_AWAY = "The customer database does not answer at the moment."

Credentials = dict[str, str]


class SalesforceSettings(CrmSettings):
    backend: Literal["salesforce"]
    auth: Literal["client_credentials", "jwt", "password"] = "client_credentials"
    domain: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+$")] = "login"
    """What stands before ".salesforce.com": "login", "test" (sandboxes), or "acme.my", which
    client_credentials need."""
    username: str | None = None
    """Of jwt and password."""
    consumer_key_env: str = "SALESFORCE_CONSUMER_KEY"
    consumer_secret_env: str = "SALESFORCE_CONSUMER_SECRET"
    """Of client_credentials."""
    private_key_file: Path | None = None
    """Of jwt."""
    password_env: str = "SALESFORCE_PASSWORD"
    security_token_env: str = "SALESFORCE_SECURITY_TOKEN"
    object: FieldPath = "Contact"
    fields: Annotated[dict[str, FieldPath], Field(min_length=1)] = Field(
        default_factory=lambda: {
            "name": "Name",
            "company": "Account.Name",
            "email": "Email",
            "phone": "Phone",
            "notes": "Description",
        }
    )
    """Name for the model → field in Salesforce."""
    phone_fields: tuple[FieldPath, ...] = ("Phone", "MobilePhone")
    email_fields: tuple[FieldPath, ...] = ("Email",)
    reference_fields: tuple[FieldPath, ...] = ()
    ca_file: str | None = None
    proxy: str | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.auth == "client_credentials" and self.domain in ("login", "test"):
            raise ValueError("client_credentials need the domain of your own, e.g. acme.my")
        if self.auth != "client_credentials" and not self.username:
            raise ValueError(f"{self.auth} needs a username")
        if self.auth == "jwt" and self.private_key_file is None:
            raise ValueError("jwt needs a private_key_file")
        if not (self.phone_fields or self.email_fields or self.reference_fields):
            raise ValueError("customers can be found by nothing: give phone_fields or others")
        return self


class SalesforceCrm:
    """See :class:`~examples.voice_agent.tools.crm.base.Crm`."""

    def __init__(self, settings: SalesforceSettings, timeout_s: float) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="salesforce")
        self._connecting = threading.Lock()
        self._client: Salesforce | None = None

    @property
    def kinds(self) -> Sequence[Kind]:
        fields = _searched(self._settings)
        return [kind for kind, paths in fields.items() if paths]

    def missing(self) -> Sequence[str]:
        file = self._settings.private_key_file
        unread = [] if file is None or file.is_file() else [f"{file} is not there."]
        return missing_secrets(*_variables(self._settings)) + unread

    async def aclose(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            self._client.session.close()

    async def find(self, wanted: Wanted, limit: int) -> Sequence[Record]:
        soql = soql_query(self._settings, wanted, limit)
        loop = asyncio.get_running_loop()
        records = await loop.run_in_executor(self._threads, self._query, soql)
        return [told(record, self._settings.fields) for record in records[:limit]]

    # In a thread.

    def _query(self, soql: str) -> list[Mapping[str, Any]]:
        sf = optional_library("simple_salesforce", "simple-salesforce")
        requests = optional_library("requests", "simple-salesforce")
        try:
            answer = self._connected().query(soql)
        except sf.SalesforceAuthenticationFailed as error:
            raise PluginError(_REFUSED, reason=f"login at Salesforce: {error}") from None
        except sf.SalesforceError as error:
            away = error.status in _RETRYABLE
            message = _AWAY if away else _REFUSED
            raise PluginError(message, retryable=away, reason=str(error)[:500]) from None
        except requests.RequestException as error:
            reason = f"{type(error).__name__}: {error}"[:500]
            raise PluginError(_AWAY, retryable=True, reason=reason) from None
        records: list[Mapping[str, Any]] = answer["records"]
        return records

    def _connected(self) -> "Salesforce":
        """One login serves all; the library itself logs in again when the session expires."""
        with self._connecting:
            if self._client is None:
                sf = optional_library("simple_salesforce", "simple-salesforce")
                session = _session(self._settings, self._timeout_s)
                client: Salesforce = sf.Salesforce(
                    session=session, domain=self._settings.domain, **_credentials(self._settings)
                )
                self._client = client
            return self._client


def soql_query(settings: SalesforceSettings, wanted: Wanted, limit: int) -> str:
    """What callers say is quoted by the library; everything else is checked in the settings."""
    quote = optional_library("simple_salesforce.format", "simple-salesforce").format_soql
    fields = _searched(settings)[wanted.kind]
    values = list(wanted.phone.spellings) if wanted.phone else [wanted.value]
    where = " OR ".join(f"{field} IN {{values}}" for field in fields)
    columns = ", ".join(dict.fromkeys(settings.fields.values()))
    query = f"SELECT {columns} FROM {settings.object} WHERE {where} LIMIT {int(limit)}"
    quoted: str = quote(query, values=values)
    return quoted


def _searched(settings: SalesforceSettings) -> dict[Kind, tuple[str, ...]]:
    return {
        "phone": settings.phone_fields,
        "email": settings.email_fields,
        "reference": settings.reference_fields,
    }


def _session(settings: SalesforceSettings, timeout_s: float) -> "requests.Session":
    """The library's own requests would wait without limit, and follow the environment."""
    library = optional_library("requests", "simple-salesforce")
    session: requests.Session = library.Session()
    session.trust_env = False
    if settings.ca_file is not None:
        if not Path(settings.ca_file).is_file():
            raise PluginError(SET_UP, reason=f"{settings.ca_file} is not there")
        session.verify = settings.ca_file
    if settings.proxy is not None:
        session.proxies = {"https": settings.proxy, "http": settings.proxy}
    session.request = partial(session.request, timeout=timeout_s)  # type: ignore[method-assign]
    return session


def _variables(settings: SalesforceSettings) -> list[str]:
    if settings.auth == "client_credentials":
        return [settings.consumer_key_env, settings.consumer_secret_env]
    if settings.auth == "jwt":
        return [settings.consumer_key_env]
    return [settings.password_env, settings.security_token_env]


def _credentials(settings: SalesforceSettings) -> Credentials:
    username = settings.username or ""
    if settings.auth == "client_credentials":
        return {
            "consumer_key": secret(settings.consumer_key_env),
            "consumer_secret": secret(settings.consumer_secret_env),
        }
    if settings.auth == "jwt":
        return {
            "username": username,
            "consumer_key": secret(settings.consumer_key_env),
            "privatekey_file": str(settings.private_key_file),
        }
    return {
        "username": username,
        "password": secret(settings.password_env),
        "security_token": secret(settings.security_token_env),
    }
