"""A phone call on Asterisk as a conversation sees it."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator

import structlog

from examples.asterisk_bridge.ari import Ari, AriError, AriNotFound, AriRefused
from examples.asterisk_bridge.giving_back import Outcome, send_to_fallback
from examples.asterisk_bridge.media.base import Media
from examples.voice_agent.inbox import Inbox
from examples.voice_agent.transport import (
    GIVEN_BACK,
    TRANSFERRED,
    CallInfo,
    HungUp,
    TransportClosed,
    TransportEvent,
)
from services.shared.audio.pcm import AudioFormat

log = structlog.get_logger(__name__)

_TARGET = re.compile(r"[A-Za-z0-9_*#+.-]{1,64}")
_DIGITS = re.compile(r"[0-9A-Da-d*#]{1,64}")


class Ending:
    """How a call ended; the first word counts."""

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.said: HungUp | None = None
        self._meant: HungUp | None = None

    @contextlib.contextmanager
    def meaning(self, cause: str) -> Iterator[None]:
        """We are about to end it: what Asterisk tells of its end meanwhile is our doing."""
        self._meant = HungUp(cause, by_caller=False)
        try:
            yield
        finally:
            self._meant = None

    def say(self, cause: str, *, by_caller: bool) -> None:
        if self.said is None:
            self.said = self._meant or HungUp(cause, by_caller)
            self.done.set()


class AsteriskTransport:
    """See :class:`examples.voice_agent.transport.CallTransport`."""

    def __init__(
        self,
        info: CallInfo,
        channel_id: str,
        ari: Ari,
        media: Media,
        inbox: Inbox,
        ending: Ending,
        transfer_context: str,
        fallback_context: str = "",
    ) -> None:
        self._info = info
        self._channel_id = channel_id
        self._ari = ari
        self._media = media
        self._inbox = inbox
        self._ending = ending
        self._transfer_context = transfer_context
        self._fallback_context = fallback_context
        self.answered = False

    @property
    def info(self) -> CallInfo:
        return self._info

    @property
    def audio_format(self) -> AudioFormat:
        return self._media.format.audio

    def events(self) -> AsyncIterator[TransportEvent]:
        return self._inbox.events()

    async def answer(self) -> None:
        self._check()
        try:
            await self._ari.answer(self._channel_id)
        except AriError as error:
            raise self._closed(error) from None
        self.answered = True

    async def send_audio(self, data: bytes) -> None:
        self._check()
        await self._media.send_audio(data)

    async def mark(self, name: str) -> None:
        self._check()
        await self._media.mark(name)

    async def pause(self) -> None:
        self._check()
        await self._media.pause()

    async def resume(self) -> None:
        self._check()
        await self._media.resume()

    async def flush(self) -> None:
        self._check()
        await self._media.flush()

    async def send_digits(self, digits: str) -> None:
        """
        Raises:
            ValueError: not digits.
        """
        self._check()
        if not _DIGITS.fullmatch(digits):
            raise ValueError(f"{digits!r} are no digits")
        try:
            await self._ari.send_dtmf(self._channel_id, digits)
        except AriError as error:
            raise self._closed(error) from None

    async def transfer(self, target: str) -> None:
        """
        Raises:
            ValueError: the dial plan has no such extension; the call goes on.
        """
        self._check()
        if not _TARGET.fullmatch(target):
            raise ValueError(f"{target!r} cannot be an extension")
        context = self._transfer_context
        try:
            # "" where func_dialplan is not loaded: then the dial plan itself will see.
            exists = f"DIALPLAN_EXISTS({context},{target},1)"
            if await self._ari.variable(self._channel_id, exists) == "0":
                raise ValueError(f"there is no extension {target} in {context}")
            with self._ending.meaning(TRANSFERRED):
                await self._ari.continue_in_dialplan(
                    self._channel_id, context=context, extension=target, priority=1
                )
                self._ending.say(TRANSFERRED, by_caller=False)
        except AriError as error:
            raise self._closed(error) from None

    async def give_back(self) -> None:
        """On in the dial plan, which is told `VA_OUTCOME=failed`."""
        self._check()
        with self._ending.meaning(GIVEN_BACK):
            try:
                await send_to_fallback(
                    self._ari, self._channel_id, Outcome.FAILED, self._fallback_context
                )
            except AriError as error:
                raise self._closed(error) from None
            self._ending.say(GIVEN_BACK, by_caller=False)

    async def hang_up(self, cause: str = "normal") -> None:
        self._check()
        with self._ending.meaning("Normal Clearing"):
            try:
                await self._hang_up(cause)
            except AriNotFound:
                pass
            except AriError as error:
                raise self._closed(error) from None
            self._ending.say("Normal Clearing", by_caller=False)

    async def _hang_up(self, cause: str) -> None:
        try:
            await self._ari.hang_up(self._channel_id, cause)
        except AriRefused as error:
            if error.status != 400:
                raise
            log.warning("unknown_hangup_cause", cause=cause)
            await self._ari.hang_up(self._channel_id)

    def _check(self) -> None:
        if self._ending.said is not None:
            raise TransportClosed(f"the call is over: {self._ending.said.cause}")

    def _closed(self, error: AriError) -> TransportClosed:
        """A command that failed ends the call: a caller must not wait for who cannot act."""
        gone = isinstance(error, AriRefused) and error.status in (404, 409, 412)
        self._ending.say("gone" if gone else "Asterisk does not answer", by_caller=gone)
        return TransportClosed(str(error))
