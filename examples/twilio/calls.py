"""All calls of one process: who is let in, whose stream is whose, and how each call goes on.

Twilio asks over HTTP what to do with a call, opens a stream when told to, and asks again when the
stream has ended. A place is taken with the first question, so no caller is accepted and then
refused.
"""

import asyncio
import contextlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from examples.twilio import messages, twiml
from examples.twilio.config import TwilioConfig
from examples.twilio.signature import is_genuine
from examples.twilio.transport import After, TwilioTransport
from examples.voice_agent.transport import (
    CallDeclined,
    CallInfo,
    Conversation,
    NotesRefusals,
    TransportClosed,
)
from examples.voice_agent.vitals import Vitals

log = structlog.get_logger(__name__)

_POLICY_VIOLATION, _TRY_AGAIN_LATER = 1008, 1013
_START_S = 5.0
"""For a stream's first messages."""
_STRANGERS = 32
"""Streams at a time that neither are signed nor have said yet whose they are."""
_REMEMBERED = 1000
"""Calls whose streams have ended, until Twilio asks about them."""
_REASON_BYTES = 123
"""Of a close frame (RFC 6455, section 5.5)."""
_ASKS_S = 2.0
"""A program that ends gives Twilio so long to ask how its last calls go on."""
_LOOK_S = 0.05
_BUSY, _DRAINED = "busy", "drained"


class Refused(Exception):
    """A stream is none of ours; the sentence says why."""


@dataclass(frozen=True, slots=True)
class _Expected:
    """A call that Twilio was told to open a stream for."""

    info: CallInfo
    until_s: float


class TwilioCalls:
    """One for each process.

    Args:
        late_s: how late our event loop is.
        vitals: where lost audio is counted.
    """

    def __init__(
        self,
        config: TwilioConfig,
        converse: Conversation,
        late_s: Callable[[], float] = lambda: 0.0,
        vitals: Vitals | None = None,
    ) -> None:
        self._config = config.calls
        self._audio = config.audio
        self._auth_token = config.account.auth_token.get_secret_value()
        self._stream_url = config.server.stream_address("/twilio/stream")
        self._after_url = config.server.address("/twilio/after")
        self._converse = converse
        self._late_s = late_s
        self._vitals = vitals or Vitals()
        self._expected: dict[str, _Expected] = {}
        """By their tokens."""
        self._live: set[TwilioTransport] = set()
        self._after: OrderedDict[str, After] = OrderedDict()
        self._strangers = 0
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def live(self) -> int:
        return len(self._live)

    # What Twilio asks over HTTP.

    def arrived(self, info: CallInfo) -> str:
        """A new call; the answer is TwiML."""
        self._forget_expired()
        self._forget(info.call_id)  # Twilio asks again when it got no answer
        if self._draining or self._is_full:
            return self._refuse(info, _DRAINED if self._draining else _BUSY)
        token = secrets.token_urlsafe(32)
        self._expected[token] = _Expected(info, time.monotonic() + self._config.stream_s)
        log.info("call_began", call=info.call_id, caller=info.caller)
        return twiml.connect(self._stream_url, token, self._after_url)

    def ended(self, call_id: str) -> str:
        """The stream of a call has ended, or could not be opened; the answer is TwiML."""
        if (info := self._forget(call_id)) is not None:
            self._never_came(info)
        # We do not know a call whose stream never came, or whose process died.
        after = self._after.pop(call_id, After(failed=True))
        if after.dial is not None:
            return twiml.dial(after.dial)
        if after.failed:
            return self._fall_back()
        return twiml.hang_up()

    def _refuse(self, info: CallInfo, reason: str) -> str:
        late_ms = round(self._late_s() * 1000)
        log.warning("call_refused", call=info.call_id, outcome=reason, calls=self.live, ms=late_ms)
        if isinstance(self._converse, NotesRefusals):
            self._converse.refused(info, reason)
        return twiml.reject() if self._config.fallback is None else self._fall_back()

    def _fall_back(self) -> str:
        config = self._config
        if config.fallback is not None:
            return twiml.dial(config.number_of(config.fallback))
        return twiml.say_and_hang_up(config.sorry, config.sorry_language)

    @property
    def _is_full(self) -> bool:
        """By number, or by what is measured."""
        calls = len(self._live) + len(self._expected)
        limit_s = self._config.max_late_ms / 1000
        too_late = limit_s > 0 and calls > 0 and self._late_s() > limit_s
        return too_late or calls >= self._config.max_calls

    def _forget_expired(self) -> None:
        now = time.monotonic()
        for token in [token for token, each in self._expected.items() if each.until_s <= now]:
            self._never_came(self._expected.pop(token).info)

    def _forget(self, call_id: str) -> CallInfo | None:
        """It need not be waited for any more; None: it was not."""
        for token, each in self._expected.items():
            if each.info.call_id == call_id:
                return self._expected.pop(token).info
        return None

    def _never_came(self, info: CallInfo) -> None:
        log.warning("stream_never_came", call=info.call_id)
        if isinstance(self._converse, NotesRefusals):
            self._converse.refused(info, "no_stream", failed=True)

    # A stream.

    async def carry(self, socket: WebSocket) -> None:
        """One stream, from its beginning to its end."""
        await socket.accept()
        stranger = not self._is_signed(socket)
        if stranger and self._strangers >= _STRANGERS:
            return await _close(socket, _TRY_AGAIN_LATER, "too many streams at a time")
        self._strangers += stranger
        try:
            async with asyncio.timeout(_START_S):
                start = await _first_messages(socket)
            info = self._take(start)
        except (Refused, TimeoutError, WebSocketDisconnect) as error:
            why = str(error) or "it did not say in time whose it is"
            log.warning("stream_refused", why=why)
            return await _close(socket, _POLICY_VIOLATION, why)
        finally:
            self._strangers -= stranger
        await self._run(socket, start, info)

    def _is_signed(self, socket: WebSocket) -> bool:
        """Twilio signs the upgrade, too.

        The token decides what a stream may do; the signature keeps strangers from taking the places
        of Twilio's streams, which have yet to tell theirs.
        """
        given = socket.headers.get("X-Twilio-Signature", "")
        return is_genuine(self._auth_token, self._stream_url, (), given)

    def _take(self, start: messages.StreamStart) -> CallInfo:
        """Whose stream it is; its token is good for one."""
        self._forget_expired()
        expected = self._expected.get(start.customParameters.get(twiml.TOKEN, ""))
        if expected is None or expected.info.call_id != start.callSid:
            raise Refused("no call is waiting for this stream")
        if not start.mediaFormat.is_ours:
            raise Refused(f"its audio is no µ-law at 8 kHz: {start.mediaFormat}")
        del self._expected[start.customParameters[twiml.TOKEN]]
        return expected.info

    async def _run(self, socket: WebSocket, start: messages.StreamStart, info: CallInfo) -> None:
        began = time.monotonic()
        line = TwilioTransport(
            socket,
            start.streamSid,
            info,
            self._audio,
            self._config.number_of,
            lambda after: self._remember(info.call_id, after),
            self._vitals.dropping(messages.FORMAT.bytes_per_s),
        )
        self._live.add(line)
        self._idle.clear()
        call = asyncio.create_task(self._talk(line), name=f"call-{info.call_id}")
        reading = asyncio.create_task(line.run(), name=f"call-stream-{info.call_id}")
        try:
            limit_s = self._config.max_call_s
            ends = [call, reading]
            await asyncio.wait(ends, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            if not call.done() and not reading.done():
                log.warning("call_too_long", call=info.call_id)
                await _leave(line.cut_off)
            # When the stream was over first, the conversation has things to put in order.
            await asyncio.wait([call], timeout=self._config.goodbye_s)
        finally:
            for task in (call, reading):
                task.cancel()
            await asyncio.gather(call, reading, return_exceptions=True)
            self._live.discard(line)
            if not self._live:
                self._idle.set()
            seconds = round(time.monotonic() - began, 1)
            dropped = line.dropped_bytes
            log.info("call_ended", call=info.call_id, seconds=seconds, dropped_bytes=dropped)

    async def _talk(self, line: TwilioTransport) -> None:
        """The conversation, and what it leaves undone."""
        call_id = line.info.call_id
        served = False
        try:
            await self._converse(line)
            served = True
        except TransportClosed:
            served = True
        except CallDeclined as error:
            log.info("call_declined", call=call_id, why=str(error))
        except Exception as error:
            log.exception("conversation_failed", call=call_id, error=str(error))
        finally:
            await _leave(line.hang_up if served else line.give_back)

    def _remember(self, call_id: str, after: After) -> None:
        self._after[call_id] = after
        while len(self._after) > _REMEMBERED:
            self._after.popitem(last=False)

    # The end.

    async def drain(self) -> None:
        """Take no more calls, and wait for those that are there; what is left is given back.

        Twilio still hears from us how all of them go on.
        """
        self._draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.drain_s):
                while self._expected:
                    await asyncio.sleep(_LOOK_S)
                    self._forget_expired()
                await self._idle.wait()
        await asyncio.gather(*(_leave(line.give_back) for line in self._live))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.goodbye_s):
                await self._idle.wait()
        until_s = time.monotonic() + _ASKS_S
        while self._is_asked and time.monotonic() < until_s:  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(_LOOK_S)

    @property
    def _is_asked(self) -> bool:
        """Twilio has yet to hear how a call goes on whose caller is still there."""
        return any(not after.caller_left for after in self._after.values())


async def _leave(leave: Callable[[], Awaitable[None]]) -> None:
    """Unless the call is over already."""
    with contextlib.suppress(TransportClosed):
        await leave()


async def _first_messages(socket: WebSocket) -> messages.StreamStart:
    """
    Raises:
        Refused: they are something else.
        WebSocketDisconnect: it is gone.
    """
    try:
        if not isinstance(messages.parse(await socket.receive_text()), messages.Connected):
            raise Refused("its first message is not `connected`")
        start = messages.parse(await socket.receive_text())
    except (ValueError, KeyError) as error:
        raise Refused(f"its first messages are none of Twilio's: {error}") from None
    if not isinstance(start, messages.Start):
        raise Refused("its second message is not `start`")
    return start.start


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    short = reason.encode()[:_REASON_BYTES].decode(errors="ignore")
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):
        await socket.close(code, short)
