"""As much of Zoho's accounts and CRM as a search needs, with their rules."""

import re
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.examples.voice_agent.raw_http import Request

PEOPLE: list[dict[str, Any]] = [
    {"Full_Name": "Lan Nguyễn", "Account_Name": {"name": "Acme", "id": "1"},
     "Email": "lan@acme.vn", "Phone": "0901234567", "Code": "K-1"},
    {"Full_Name": "Bo (B), Jr.", "Account_Name": None,
     "Email": "bo@acme.vn", "Phone": "+14155552671", "Code": "a(b),c:d"},
]  # fmt: skip
_CRITERIA = re.compile(r"\((\w+):equals:((?:\\[(),\\]|[^(),\\])*)\)")


@dataclass
class ZohoServer:
    url: str = ""
    expires_in: int = 3600
    tokens: set[str] = field(default_factory=set)
    renewals: int = 0
    searches: list[dict[str, str]] = field(default_factory=list)
    fail_with: list[int] = field(default_factory=list)

    async def __call__(self, request: Request) -> None:
        parts = urlsplit(request.path)
        if (request.method, parts.path) == ("POST", "/oauth/v2/token"):
            await self._token(request)
        elif (request.method, parts.path) == ("GET", "/crm/v8/Contacts/search"):
            await self._search(request, {k: v[0] for k, v in parse_qs(parts.query).items()})
        else:
            await request.whole(404, {"code": "INVALID_URL_PATTERN"})

    async def _token(self, request: Request) -> None:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        wanted = {
            "grant_type": "refresh_token", "client_id": "id", "client_secret": "secret",
            "refresh_token": "refresh",
        }  # fmt: skip
        if form != wanted:
            await request.whole(200, {"error": "invalid_code"})
            return
        self.renewals += 1
        self.tokens = {token := secrets.token_hex(8)}
        answer = {"access_token": token, "api_domain": self.url, "expires_in": self.expires_in}
        await request.whole(200, answer)

    async def _search(self, request: Request, query: dict[str, str]) -> None:
        if self.fail_with:
            await request.whole(self.fail_with.pop(0), {"code": "INTERNAL_ERROR"})
            return
        token = request.headers.get("authorization", "").removeprefix("Zoho-oauthtoken ")
        if token not in self.tokens:
            await request.whole(401, {"code": "INVALID_TOKEN", "status": "error"})
            return
        self.searches.append(query)
        try:
            found = [person for person in PEOPLE if _matches(person, query)]
        except ValueError:
            await request.whole(400, {"code": "INVALID_QUERY", "status": "error"})
            return
        names = query["fields"].split(",")
        data = [{"id": "7"} | {name: person[name] for name in names} for person in found]
        if data:
            await request.whole(200, {"data": data[: int(query["per_page"])]})
        else:
            await request.raw(b"HTTP/1.1 204 No Content\r\n\r\n")


def _matches(person: dict[str, Any], query: dict[str, str]) -> bool:
    if "phone" in query:
        return bool(person["Phone"] == query["phone"])
    if "email" in query:
        return bool(person["Email"] == query["email"])
    match = _CRITERIA.fullmatch(query["criteria"])
    if match is None:
        raise ValueError(query["criteria"])
    return bool(person[match[1]] == re.sub(r"\\(.)", r"\1", match[2]))
