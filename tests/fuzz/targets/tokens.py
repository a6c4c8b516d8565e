"""Tokens and origins that somebody made up: none of them opens anything, and none is a fault."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

from services.shared.runtime.keys import KeyRecord, Scope
from services.shared.runtime.origins import Origins
from services.shared.runtime.tokens import BadToken, Tokens, key_id_in
from tests.fuzz.source import Source
from tests.fuzz.target import check
from tests.fuzz.values import mutated, text, value

_NOW = 1_800_000_000
_KEY = KeyRecord(
    id="k1",
    name="a",
    owner="o",
    sha256="0" * 64,
    scopes=frozenset(Scope),
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
)
_TOKENS = Tokens(b"s" * 32)
_GOOD, _TICKET = _TOKENS.sign(_KEY, frozenset({Scope.ASR}), 300, _NOW)
_CLAIMS = {
    "iss": "voice",
    "jti": "0" * 32,
    "iat": _NOW,
    "exp": _NOW + 300,
    "scope": "asr tts",
    "sessions": 1,
    "audio_s": 1.5,
}
_ODD_HEADERS: tuple[Any, ...] = ("none", "HS256", "RS256", "", None, [], {}, 1, True, "hs256")
_ORIGINS = (
    "https://a.b",
    "null",
    "http://",
    "https://a.b:99999",
    "http://[::1",
    "x",
    "file://",
    "*",
)
_HOSTS = ("a.b", "", "localhost:80", "[::1]:1", "a.b:", ":", "[", "a.b, c.d", "127.0.0.1")


def attempt(source: Source) -> None:
    offered, is_ours = _token(source)
    named = key_id_in(offered)
    check(named is None or type(named) is str, "a key id that is no text")
    try:
        ticket = _TOKENS.read(offered, _KEY, _NOW + source.choice((0, 400, -1000)))
        check(is_ours, f"{offered!r} was accepted")
        check(ticket.expires_at - _NOW <= 3600, "a token for ever")
    except BadToken:
        pass


def origins(source: Source) -> None:
    """Whatever stands in `Origin` and `Host`: a page is ours, permitted, or refused."""
    origin = source.choice(_ORIGINS) if source.one_in(2) else text(source, 2)
    host = source.choice(_HOSTS) if source.one_in(2) else text(source, 1)
    permitted = Origins(("https://mine.example",), locked=True).permits(origin, host)
    own = origin.lower().partition("://")[2].strip()
    check(not permitted or bool(own), f"{origin!r} was permitted for {host!r}")


def _token(source: Source) -> tuple[str, bool]:
    """And whether it was signed by us."""
    kind = source.below(8)
    if kind == 7:
        return ".".join(text(source, 1) for _ in range(source.below(5))), False
    if kind == 6:
        at = source.below(len(_GOOD))
        other = _GOOD[:at] + source.choice("aZ-_.=+ é\0") + _GOOD[at + 1 :]
        return other, True  # Base64 has bits to spare: another letter may say the same
    header: dict[str, Any] = {"alg": "HS256", "typ": "JWT", "kid": "k1"}
    if source.one_in(3):
        header[source.choice(("alg", "typ", "kid", "crit", "b64", "zip", "jku"))] = source.choice(
            _ODD_HEADERS
        )
    if source.one_in(6):
        header = mutated(source, header)
    claims: Any = mutated(source, dict(_CLAIMS)) if source.one_in(2) else dict(_CLAIMS)
    if source.one_in(12):
        claims = value(source)
    signed = f"{_part(header)}.{_part(claims)}"
    key = _TOKENS._key_for(_KEY) if source.one_in(2) else source.take(32)
    signature = hmac.new(key, signed.encode(), hashlib.sha256).digest()
    if source.one_in(8):
        signature = source.take(40)
    ours = hmac.new(_TOKENS._key_for(_KEY), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{_base64(signature)}", signature == ours


def _part(told: Any) -> str:
    return _base64(json.dumps(told).encode("utf-8", "replace"))


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
