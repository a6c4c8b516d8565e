"""As much of Salesforce as a login and a query need, with its rules: it checks every token, and
reads SOQL as a language, so that what breaks out of its quotes finds what it must not."""

import base64
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt

from tests.examples.voice_agent.raw_http import Request

INSTANCE = "acme.my.salesforce.com"
PEOPLE: list[dict[str, Any]] = [
    {"Name": "Lan Nguyễn", "Account": {"Name": "Acme"}, "Email": "lan@acme.vn",
     "Phone": "0901 234 567", "MobilePhone": None, "Number__c": "K-1"},
    {"Name": "Pat O'Brien", "Account": None, "Email": "pat.o'brien@acme.vn",
     "Phone": None, "MobilePhone": "+14155552671", "Number__c": "K-2"},
    {"Name": "Quốc \\ Trần", "Account": None, "Email": "q@acme.vn",
     "Phone": "+84905555555", "MobilePhone": None, "Number__c": "K-3"},
]  # fmt: skip
_TOKEN = re.compile(r"\s*(?:'((?:\\.|[^'\\])*)'|([\w.]+)|([(),]))")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


class Malformed(ValueError):
    pass


@dataclass
class SalesforceServer:
    consumer_key: str = "key"
    consumer_secret: str = "secret"
    password: str = "passwordtoken"
    jwt_key: Any = None
    """Public key of those who may log in by JWT."""
    tokens: set[str] = field(default_factory=set)
    logins: int = 0
    queries: list[str] = field(default_factory=list)
    fail_with: list[int] = field(default_factory=list)
    """Statuses of the next queries."""

    async def __call__(self, request: Request) -> None:
        path = urlsplit(request.path).path
        if request.headers["host"] not in (INSTANCE, "login.salesforce.com"):
            await request.whole(421, {})
        elif path == "/services/oauth2/token":
            await self._token(request)
        elif path == "/services/Soap/u/59.0":
            await self._soap(request)
        elif path == "/services/data/v59.0/query/":
            await self._query(request)
        else:
            await request.whole(404, [{"errorCode": "NOT_FOUND", "message": path}])

    async def _token(self, request: Request) -> None:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        if not self._may_log_in(request, form):
            error = {"error": "invalid_client", "error_description": "invalid client credentials"}
            await request.whole(400, error)
            return
        answer = {"access_token": self._new_token(), "instance_url": f"https://{INSTANCE}"}
        await request.whole(200, answer)

    def _may_log_in(self, request: Request, form: dict[str, str]) -> bool:
        if form["grant_type"] == "client_credentials":
            pair = f"{self.consumer_key}:{self.consumer_secret}".encode()
            return (
                request.headers.get("authorization") == f"Basic {base64.b64encode(pair).decode()}"
            )
        try:
            claims = jwt.decode(
                form["assertion"],
                self.jwt_key,
                algorithms=["RS256"],
                audience="https://login.salesforce.com",
            )
        except jwt.PyJWTError:
            return False
        return bool(claims["iss"] == self.consumer_key and claims["sub"] == "bot@acme.vn")

    async def _soap(self, request: Request) -> None:
        given = re.search(rb"<n1:password>(.*)</n1:password>", request.body)
        if given is None or given[1].decode() != self.password:
            body = "<e><sf:exceptionCode xmlns:sf='s'>INVALID_LOGIN</sf:exceptionCode></e>"
            await request.whole(500, body.encode(), "text/xml")
            return
        url = f"https://{INSTANCE}/services/Soap/u/59.0/00D"
        body = f"<r><sessionId>{self._new_token()}</sessionId><serverUrl>{url}</serverUrl></r>"
        await request.whole(200, body.encode(), "text/xml")

    def _new_token(self) -> str:
        self.logins += 1
        self.tokens.add(token := secrets.token_hex(8))
        return token

    async def _query(self, request: Request) -> None:
        soql = parse_qs(urlsplit(request.path).query)["q"][0]
        self.queries.append(soql)
        if self.fail_with:
            error = [{"errorCode": "SERVER_UNAVAILABLE", "message": "later"}]
            await request.whole(self.fail_with.pop(0), error)
            return
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            error = [{"errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}]
            await request.whole(401, error)
            return
        try:
            records = [json.loads(json.dumps(record)) for record in run(soql)]
        except Malformed as problem:
            await request.whole(400, [{"errorCode": "MALFORMED_QUERY", "message": str(problem)}])
            return
        await request.whole(200, {"totalSize": len(records), "done": True, "records": records})


def run(soql: str) -> list[dict[str, Any]]:
    """The records that `SELECT a, b.c FROM Contact WHERE d IN ('e') OR … LIMIT n` finds."""
    tokens = _tokens(soql)
    _expect(tokens, "SELECT")
    columns = [_word(tokens)]
    while (token := next(tokens)) == ("mark", ","):
        columns.append(_word(tokens))
    if token != ("word", "FROM") or _word(tokens) != "Contact":
        raise Malformed("no such object")
    found: list[int] = []
    joint = next(tokens)
    while joint in (("word", "WHERE"), ("word", "OR")):
        path, values = _word(tokens), _values(tokens)
        found += [at for at, p in enumerate(PEOPLE) if _at(p, path) in values]
        joint = next(tokens)
    if joint != ("word", "LIMIT"):
        raise Malformed(f"unexpected {joint}")
    limit = int(_word(tokens))
    if next(tokens) != ("end", ""):
        raise Malformed("more after the end")
    return [_columns(PEOPLE[at], columns) for at in sorted(set(found))][:limit]


def _tokens(soql: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(soql.rstrip()):
        match = _TOKEN.match(soql, at)
        if match is None:
            raise Malformed(f"unexpected {soql[at:]!r}")
        at = match.end()
        if match[1] is not None:
            yield "text", re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), match[1])
        else:
            yield ("word", match[2]) if match[2] else ("mark", match[3])
    while True:
        yield "end", ""


def _expect(tokens: Iterator[tuple[str, str]], text: str) -> None:
    if (token := next(tokens))[1] != text:
        raise Malformed(f"{token} instead of {text}")


def _word(tokens: Iterator[tuple[str, str]]) -> str:
    kind, text = next(tokens)
    if kind != "word":
        raise Malformed(f"unexpected {text!r}")
    return text


def _values(tokens: Iterator[tuple[str, str]]) -> set[str]:
    _expect(tokens, "IN")
    _expect(tokens, "(")
    values: set[str] = set()
    while True:
        kind, text = next(tokens)
        if kind != "text":
            raise Malformed(f"unexpected {text!r}")
        values.add(text)
        if (mark := next(tokens)) == ("mark", ")"):
            return values
        if mark != ("mark", ","):
            raise Malformed(f"unexpected {mark}")


def _at(record: dict[str, Any], path: str) -> Any:
    value: Any = record
    for name in path.split("."):
        if value is not None and name not in value:
            raise Malformed(f"No such column '{name}'")
        value = value[name] if value is not None else None
    return value


def _columns(record: dict[str, Any], columns: list[str]) -> dict[str, Any]:
    for column in columns:
        _at(record, column)
    tops = {column.partition(".")[0] for column in columns}
    return {"attributes": {"type": "Contact"}} | {top: record[top] for top in tops}
