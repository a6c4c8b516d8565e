"""What Twilio reaches: two webhooks and the stream."""

import asyncio
from urllib.parse import parse_qsl

import structlog
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from examples.twilio.calls import TwilioCalls
from examples.twilio.config import TwilioConfig
from examples.twilio.signature import is_genuine
from examples.voice_agent.transport import CallInfo

log = structlog.get_logger(__name__)

_LARGEST_FORM = 64 << 10
_FORM_S = 5.0
_TOLD = 300
"""Letters of what is wrong with a request: it may repeat what a stranger sent."""
_WORDS = ("anonymous", "blocked", "private", "restricted", "unavailable", "unknown")
_ON_KEYS = str.maketrans("abcdefghijklmnopqrstuvwxyz", "22233344455566677778889999")
_WITHHELD = frozenset(_WORDS) | {word.translate(_ON_KEYS) for word in _WORDS}
"""Also as numbers: Twilio spells such words on a telephone's keys, +266696687."""


class Forged(Exception):
    """A request that Twilio did not sign, or no request of Twilio's at all."""


class Webhooks:
    """Twilio's questions, told from those of others by their signature."""

    def __init__(self, config: TwilioConfig, calls: TwilioCalls) -> None:
        self._auth_token = config.account.auth_token.get_secret_value()
        self._server = config.server
        self._fallback = config.calls.fallback is not None
        self._calls = calls

    async def voice(self, request: Request) -> Response:
        """A call has come in."""
        form = await self._genuine(request)
        caller, called = form.get("From", ""), form.get("To", "")
        info = CallInfo(
            call_id=form["CallSid"],
            caller="" if _is_withheld(caller) else caller,
            called=called,
            variables=dict(request.query_params),
            goes_on=self._fallback,
        )
        return _twiml(self._calls.arrived(info))

    async def after(self, request: Request) -> Response:
        """A stream has ended."""
        form = await self._genuine(request)
        return _twiml(self._calls.ended(form["CallSid"]))

    async def _genuine(self, request: Request) -> dict[str, str]:
        """The form, with a call's id in it.

        Raises:
            Forged
        """
        try:
            async with asyncio.timeout(_FORM_S):
                fields = await _form(request)
        except TimeoutError:
            raise Forged("the form does not come") from None
        query = f"?{request.url.query}" if request.url.query else ""
        address = self._server.address(request.url.path) + query
        given = request.headers.get("X-Twilio-Signature", "")
        if not is_genuine(self._auth_token, address, fields, given):
            raise Forged(f"the signature is not that of {address}")
        form = dict(fields)
        if not form.get("CallSid"):
            raise Forged("there is no CallSid")
        return form


def _is_withheld(caller: str) -> bool:
    number = caller.lower().removeprefix("+")
    return number in _WITHHELD or number.removeprefix("1") in _WITHHELD


async def _form(request: Request) -> list[tuple[str, str]]:
    """Raises Forged: it is too large, or none."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > _LARGEST_FORM:
                raise Forged("the form is too large")
        return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=200)
    except (ValueError, ClientDisconnect) as error:
        raise Forged(f"the form cannot be read: {error}") from None


async def _refuse(request: Request, error: Exception) -> Response:
    log.warning("webhook_refused", path=request.url.path, why=str(error)[:_TOLD])
    return PlainTextResponse("This is for Twilio's signed requests.\n", status_code=403)


def _twiml(document: str) -> Response:
    return Response(document, media_type="application/xml")


async def _live(request: Request) -> Response:
    return PlainTextResponse("ok\n")


def create_app(config: TwilioConfig, calls: TwilioCalls) -> Starlette:
    """Webhooks at `/twilio/voice` and `/twilio/after`, streams at `/twilio/stream`."""
    webhooks = Webhooks(config, calls)

    async def stream(socket: WebSocket) -> None:
        await calls.carry(socket)

    routes = [
        Route("/twilio/voice", webhooks.voice, methods=["POST"]),
        Route("/twilio/after", webhooks.after, methods=["POST"]),
        WebSocketRoute("/twilio/stream", stream),
        Route("/health/live", _live),
    ]
    return Starlette(routes=routes, exception_handlers={Forged: _refuse})
