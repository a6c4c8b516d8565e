"""`POST /v1/tokens`: a short-lived token for a browser, from whoever has a key."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import AwareDatetime, Field

from services.shared.protocol.base import ErrorCode, Message, ProtocolError
from services.shared.runtime.grants import KeyedRoute, grant_of, requires
from services.shared.runtime.keys import Scope
from services.shared.runtime.lifecycle import lifecycle_of
from services.shared.runtime.quotas import Allowance
from services.shared.runtime.tokens import MAX_TTL_S

_OWN = (Scope.ASR, Scope.TTS)


class TokenLimits(Message):
    """What may be used with one token, all in all, beside the limits of its key."""

    sessions: Annotated[int, Field(ge=1, le=1000)] | None = None
    """At a time."""
    audio_s: Annotated[float, Field(gt=0, le=10**6)] | None = None
    characters: Annotated[int, Field(gt=0, le=10**9)] | None = None


class TokenRequest(Message):
    """What a token shall be good for."""

    ttl_s: Annotated[int, Field(ge=10, le=MAX_TTL_S)] = 300
    """How long it can open something; what it has opened may last longer."""
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1, max_length=10)] | None = None
    """None: `asr` and `tts`, as far as the key has them."""
    limits: TokenLimits = TokenLimits()


class TokenAnswer(Message):
    token: str
    """Offered like a key: in the header, or as the second subprotocol."""
    expires_at: AwareDatetime
    scopes: tuple[Scope, ...]


def token_routes() -> APIRouter:
    router = APIRouter(tags=["keys"], route_class=KeyedRoute)

    @router.post(
        "/v1/tokens",
        status_code=201,
        response_model=TokenAnswer,
        summary="A short-lived token for a browser",
        dependencies=[Depends(requires(Scope.TOKENS))],
    )
    async def create(wanted: TokenRequest, request: Request, response: Response) -> TokenAnswer:
        keys, grant = lifecycle_of(request.app).keys, grant_of(request)
        if grant.ring is None:
            raise ProtocolError(ErrorCode.NOT_FOUND, "no key is asked for here, so none is needed")
        if keys.tokens is None:
            raise ProtocolError(
                ErrorCode.NOT_FOUND,
                "this service gives no tokens; the operator can set server.token_secret_file",
            )
        scopes = _scopes(wanted.scopes, grant.scopes)
        limits = wanted.limits
        text, ticket = keys.tokens.sign(
            keys.record(grant.key_id),
            scopes,
            wanted.ttl_s,
            keys.now(),
            Allowance(limits.sessions, limits.audio_s, limits.characters),
        )
        response.headers["Cache-Control"] = "no-store"
        expires_at = datetime.fromtimestamp(ticket.expires_at, UTC)
        return TokenAnswer(token=text, expires_at=expires_at, scopes=tuple(sorted(ticket.scopes)))

    return router


def _scopes(wanted: tuple[Scope, ...] | None, own: frozenset[Scope]) -> frozenset[Scope]:
    """Raises ProtocolError `forbidden`: more than the key has, or what tokens never have."""
    grantable = own - {Scope.TOKENS}
    scopes = grantable.intersection(_OWN) if wanted is None else frozenset(wanted)
    if not scopes or not scopes <= grantable:
        raise ProtocolError(
            ErrorCode.FORBIDDEN,
            f"this key's tokens can have the scopes {', '.join(sorted(grantable)) or 'none'}",
        )
    return scopes
