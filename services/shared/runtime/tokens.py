"""Short-lived tokens for clients that must not have a key, such as browsers.

A token is a JSON Web Token (RFC 7519), HS256. It names the key that it stands for, and is signed
with a secret made of the service's own and that key's digest: whoever replaces a key ends its
tokens, and all instances that share keys file and secret take each other's.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jwt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.shared.runtime.keys import KeyRecord, Scope
from services.shared.runtime.quotas import Allowance

MAX_TTL_S = 3600
MIN_SECRET = 32
"""Bytes."""
_MAX_LENGTH = 2048
_SKEW_S = 60
"""How far the clocks of instances may be apart."""
_ALGORITHM = "HS256"


class BadToken(Exception):
    """It is not one of ours, or no more; the sentence says which, if a client may know."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a token says."""

    id: str
    key_id: str
    scopes: frozenset[Scope]
    expires_at: int
    """Seconds since 1970."""
    allowance: Allowance = Allowance()


class _Claims(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    iss: Literal["voice"] = "voice"
    jti: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    iat: int
    exp: int
    scope: str
    """Separated by spaces (RFC 8693 §4.2)."""
    sessions: Annotated[int, Field(ge=0)] | None = None
    audio_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    characters: Annotated[int, Field(ge=0)] | None = None


class Tokens:
    """Signs and reads tokens.

    Args:
        secret: shared by all instances.

    Raises:
        ValueError: it is shorter than `MIN_SECRET`.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) < MIN_SECRET:
            raise ValueError(f"a secret needs {MIN_SECRET} bytes")
        self._secret = secret

    def sign(
        self,
        key: KeyRecord,
        scopes: frozenset[Scope],
        ttl_s: int,
        now: float,
        allowance: Allowance | None = None,
    ) -> tuple[str, Ticket]:
        """A new token and what it says."""
        allowance = allowance or Allowance()
        claims = _Claims(
            jti=secrets.token_hex(16),
            iat=int(now),
            exp=int(now) + min(ttl_s, MAX_TTL_S),
            scope=" ".join(sorted(scopes)),
            sessions=allowance.sessions,
            audio_s=None if allowance.audio_s is None else float(allowance.audio_s),
            characters=allowance.characters,
        )
        text = jwt.encode(
            claims.model_dump(exclude_none=True),
            self._key_for(key),
            algorithm=_ALGORITHM,
            headers={"kid": key.id},
        )
        return text, _ticket(key, claims)

    def read(self, text: str, key: KeyRecord, now: float) -> Ticket:
        """Raises BadToken: not signed for this key, or expired."""
        try:
            # What follows checks the times: by a clock that is given, and whether they are there.
            decoded: dict[str, Any] = jwt.decode(
                text,
                self._key_for(key),
                algorithms=[_ALGORITHM],
                options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
            claims = _Claims.model_validate(decoded)
            ticket = _ticket(key, claims)
        except (jwt.PyJWTError, ValidationError, ValueError) as error:
            raise BadToken("the token is not accepted") from error
        if now >= claims.exp:
            raise BadToken("the token has expired; get another one")
        if claims.iat > now + _SKEW_S or claims.exp - claims.iat > MAX_TTL_S:
            raise BadToken("the token is not accepted")
        return ticket

    def _key_for(self, key: KeyRecord) -> bytes:
        return hmac.new(self._secret, b"voice token of " + key.digest, hashlib.sha256).digest()


def key_id_in(text: str) -> str | None:
    """The key that something which may be a token says it was signed with; nothing is checked."""
    if len(text) > _MAX_LENGTH or text.count(".") != 2:
        return None
    try:
        found = jwt.get_unverified_header(text).get("kid")
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None
    return found if isinstance(found, str) else None


def _ticket(key: KeyRecord, claims: _Claims) -> Ticket:
    """Raises ValueError: an unknown scope."""
    return Ticket(
        id=claims.jti,
        key_id=key.id,
        scopes=frozenset(map(Scope, claims.scope.split())),
        expires_at=claims.exp,
        allowance=Allowance(claims.sessions, claims.audio_s, claims.characters),
    )
