"""One object that owns one call: everything that is made for it, and the giving back of it all.

Ids are chosen here, and events subscribed to, before Asterisk is asked to make anything. So there
is no moment at which something exists that nobody knows of.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Awaitable
from typing import Any, TypeVar

import structlog

from examples.asterisk_bridge.ari import Ari, AriError, AriNotFound
from examples.asterisk_bridge.ari_events import (
    Channel,
    ChannelDestroyed,
    ChannelDtmfReceived,
    ChannelHangupRequest,
    Event,
    StasisEnd,
    StasisStart,
)
from examples.asterisk_bridge.ari_socket import AriSocket, Subscription
from examples.asterisk_bridge.config import BridgeConfig
from examples.asterisk_bridge.giving_back import Outcome, Prefixes, send_to_fallback
from examples.asterisk_bridge.media.base import MediaError, variable
from examples.asterisk_bridge.media.choice import MediaFactory
from examples.asterisk_bridge.transport import AsteriskTransport, Ending
from examples.voice_agent.inbox import Inbox
from examples.voice_agent.transport import (
    GIVEN_BACK,
    TRANSFERRED,
    AudioIn,
    CallDeclined,
    CallInfo,
    Conversation,
    Digit,
    MarkPlayed,
    NotesRefusals,
    TransportClosed,
)
from examples.voice_agent.vitals import Vitals

log = structlog.get_logger(__name__)

T = TypeVar("T")

_TOLD_S = 0.5
"""A command that fails because the caller is gone may be faster than the event that says so."""
_NORMAL = "Normal Clearing"


class Call:
    """From a caller's arrival to the last thing given back. :meth:`run` is all of it."""

    def __init__(
        self,
        channel: Channel,
        args: tuple[str, ...],
        *,
        config: BridgeConfig,
        ari: Ari,
        socket: AriSocket,
        make_media: MediaFactory,
        converse: Conversation,
        vitals: Vitals,
    ) -> None:
        self.id = uuid.uuid4().hex[:12]
        self.channel_id = channel.id
        prefixes = Prefixes(config.ari.app)
        self.media_id = prefixes.media + self.id
        self.bridge_id = prefixes.bridge + self.id
        self.outcome = Outcome.ENDED
        self._config = config.calls
        self._ari = ari
        self._socket = socket
        self._converse = converse
        self._ending = Ending()
        self._abandoned = asyncio.Event()
        self._media_there = asyncio.Event()
        self._media_gone = asyncio.Event()
        self._hangup_cause = ""
        self._made: set[str] = set()
        self._making: asyncio.Future[Any] | None = None
        """Asterisk has been asked to make something, and may do it whatever we wait for."""
        self._began = time.monotonic()
        self._media = make_media(self._deliver)
        audio = self._media.format.audio
        inbox_bytes = audio.bytes_per_s * config.media.inbox_ms // 1000
        self._inbox = Inbox(inbox_bytes, vitals.dropping(audio.bytes_per_s))
        self._transport = AsteriskTransport(
            call_info(self.id, channel, args),
            channel.id,
            ari,
            self._media,
            self._inbox,
            self._ending,
            self._config.transfer_context,
            self._config.fallback_context,
        )
        self._subscription = Subscription()
        socket.subscribe(self._subscription, self.channel_id, self.media_id)

    @property
    def is_over(self) -> bool:
        return self._ending.said is not None

    def lost(self) -> None:
        """Asterisk has this caller no longer, and did not say so."""
        if not self.is_over:
            self.outcome = Outcome.LOST
            self._ending.say("lost", by_caller=True)

    def abandon(self) -> None:
        """End the conversation; the caller goes to the fallback."""
        self.outcome = Outcome.DRAINED
        self._abandoned.set()

    async def run(self) -> None:
        """The whole call. It gives everything back also when it is cancelled."""
        log.info("call_began", call=self.id, caller=self._transport.info.caller)
        watcher = asyncio.create_task(self._watch(), name=f"call-watch-{self.id}")
        try:
            await self._live()
        except (AriError, MediaError) as error:
            if not await self._is_ending():
                self._failed("setup_failed", error)
                if isinstance(self._converse, NotesRefusals):
                    self._converse.refused(self._transport.info, "setup", failed=True)
        except asyncio.CancelledError:
            self.outcome = Outcome.DRAINED
            raise
        except Exception as error:
            self._failed("call_failed", error)
            raise
        finally:
            await self._release(watcher)

    async def _is_ending(self) -> bool:
        """A caller who hangs up while things are made for them makes that fail, then is told."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TOLD_S):
                await self._ending.done.wait()
        return self.is_over

    async def _live(self) -> None:
        try:
            async with asyncio.timeout(self._config.setup_s):
                await self._unless_over(self._set_up())
        except TimeoutError:
            raise MediaError(f"not connected within {self._config.setup_s:g} s") from None
        if self.is_over:
            return
        carrying = asyncio.create_task(self._media.run(), name=f"call-media-{self.id}")
        talking = asyncio.create_task(
            self._converse_to_the_end(), name=f"call-conversation-{self.id}"
        )
        ends = [
            asyncio.create_task(event.wait())
            for event in (self._ending.done, self._abandoned, self._media_gone)
        ]
        try:
            everything = [carrying, talking, *ends]
            limit_s = self._config.max_call_s
            await asyncio.wait(everything, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            await self._finish(carrying, talking)
        finally:
            await _cancel(talking, carrying, *ends)

    async def _finish(self, carrying: asyncio.Task[None], talking: asyncio.Task[None]) -> None:
        """One of the tasks, or the call, is over: bring the others to their end."""
        if not talking.done() and not self.is_over:
            self._interrupted(carrying)
        if self._ending.said is None:
            self._ending.say("the conversation is over", by_caller=False)
        if self._ending.said is not None:
            self._inbox.put(self._ending.said)
            if self._ending.said.cause == GIVEN_BACK:
                self.outcome = Outcome.FAILED
        if not talking.done():
            await asyncio.wait([talking], timeout=self._config.goodbye_s)
        if talking.done() and not talking.cancelled():
            error = talking.exception()
            if isinstance(error, CallDeclined):
                self.outcome = Outcome.DECLINED
                log.info("call_declined", call=self.id, why=str(error))
            elif error is not None:
                self._failed("conversation_failed", error)
        elif not talking.done():
            log.warning("conversation_does_not_end", call=self.id)

    def _interrupted(self, carrying: asyncio.Task[None]) -> None:
        """Neither the caller nor the conversation ended it."""
        if self._abandoned.is_set():
            self._ending.say("the service ends", by_caller=False)
            return
        if not carrying.done() and not self._media_gone.is_set():
            log.warning("call_too_long", call=self.id)
            self._ending.say("the call took too long", by_caller=False)
            return
        error = carrying.exception() if carrying.done() else None
        self._failed("media_lost", error or MediaError("Asterisk ended the media channel"))
        self._ending.say("media lost", by_caller=False)

    async def _converse_to_the_end(self) -> None:
        with contextlib.suppress(TransportClosed):
            await self._converse(self._transport)

    async def _set_up(self) -> None:
        """Media channel, its connection, bridge: in the order in which Asterisk wants it."""
        parameters = await self._media.open()
        channel = await self._make(
            self.media_id, self._ari.external_media(self.media_id, **parameters)
        )
        variables = {
            name: variable(channel, name) or await self._ari.variable(self.media_id, name)
            for name in self._media.needs
        }
        if not all(variables.values()):
            raise MediaError(f"Asterisk does not tell {', '.join(self._media.needs)}")
        await self._media.connect(variables)
        await self._media_there.wait()
        await self._make(self.bridge_id, self._ari.create_bridge(self.bridge_id))
        await self._ari.add_to_bridge(self.bridge_id, self.channel_id, self.media_id)
        log.info("call_connected", call=self.id, ms=round((time.monotonic() - self._began) * 1000))

    async def _make(self, made_id: str, making: Awaitable[T]) -> T:
        """Ask Asterisk to make what has this id.

        Not given up with the call: what is asked to end before it has been made would be made
        afterwards, and stay.
        """
        self._made.add(made_id)
        self._making = asyncio.ensure_future(making)
        return await asyncio.shield(self._making)

    async def _unless_over(self, work: Awaitable[None]) -> None:
        """Do this, but stop when the caller hangs up meanwhile."""
        doing = asyncio.ensure_future(work)
        over = asyncio.create_task(self._ending.done.wait())
        try:
            await asyncio.wait([doing, over], return_when=asyncio.FIRST_COMPLETED)
            if doing.done():
                doing.result()
        finally:
            await _cancel(doing, over)

    async def _watch(self) -> None:
        while True:
            event = await self._subscription.get()
            if event.channel_id == self.media_id:
                self._media_told(event)
            else:
                self._caller_told(event)

    def _media_told(self, event: Event) -> None:
        match event:
            case StasisStart():
                self._media_there.set()
            case StasisEnd() | ChannelDestroyed():
                self._made.discard(self.media_id)
                self._media_gone.set()

    def _caller_told(self, event: Event) -> None:
        match event:
            case ChannelDtmfReceived(digit=digit, duration_ms=duration_ms):
                self._inbox.put(Digit(digit, duration_ms))
            case ChannelHangupRequest(cause=cause):
                self._hangup_cause = _NORMAL if cause in (0, 16) else f"Q.850 cause {cause}"
            case ChannelDestroyed(cause_txt=text):
                self._ending.say(text or self._hangup_cause or _NORMAL, by_caller=True)
            case StasisEnd():  # its end in Asterisk is no longer told to us
                self._ending.say(self._hangup_cause or "taken away", by_caller=True)

    def _deliver(self, event: AudioIn | MarkPlayed) -> None:
        self._inbox.put(event)

    def _failed(self, what: str, error: BaseException) -> None:
        if self.outcome is Outcome.ENDED:
            self.outcome = Outcome.FAILED
        log.error(what, call=self.id, error=str(error) or type(error).__name__)

    async def _release(self, watcher: asyncio.Task[None]) -> None:
        """Give everything back, also when cancelled meanwhile."""
        release = asyncio.create_task(self._give_back(), name=f"call-release-{self.id}")
        try:
            await asyncio.shield(release)
        except asyncio.CancelledError:
            await asyncio.wait([release])
            raise
        finally:
            await _cancel(watcher)
            self._socket.unsubscribe(self.channel_id, self.media_id)
            seconds = round(time.monotonic() - self._began, 1)
            cause = self._ending.said.cause if self._ending.said else ""
            dropped = self._inbox.dropped_bytes
            log.info(
                "call_ended",
                call=self.id,
                outcome=self.outcome,
                cause=cause,
                seconds=seconds,
                dropped_bytes=dropped,
            )

    async def _give_back(self) -> None:
        try:
            async with asyncio.timeout(self._config.release_s):
                await _attempt(self._let_go_of_caller())
                await _attempt(self._media.close())
                if self._making is not None:
                    await asyncio.gather(self._making, return_exceptions=True)
                if self.bridge_id in self._made:
                    await _attempt(self._ari.destroy_bridge(self.bridge_id))
                if self.media_id in self._made:
                    await _attempt(self._ari.hang_up(self.media_id))
        except TimeoutError:
            log.error("release_too_slow", call=self.id, hint="the sweeper will see to it")

    async def _let_go_of_caller(self) -> None:
        """Hang up, or on to the fallback. Not when the caller is gone already."""
        said = self._ending.said
        if said is not None and (said.by_caller or said.cause in (TRANSFERRED, GIVEN_BACK)):
            return
        if self.outcome is Outcome.ENDED:
            await self._ari.hang_up(self.channel_id)
        else:
            context = self._config.fallback_context
            await send_to_fallback(self._ari, self.channel_id, self.outcome, context)


def call_info(call_id: str, channel: Channel, args: tuple[str, ...]) -> CallInfo:
    """`args` are those of Stasis(app,…): the dialled number, then anything as name=value."""
    called = args[0] if args else channel.dialplan.exten
    variables = dict(each.split("=", 1) for each in args[1:] if "=" in each)
    variables["CHANNEL"] = channel.name
    return CallInfo(call_id, channel.caller.number, called, variables, goes_on=True)


async def _attempt(work: Awaitable[None]) -> None:
    """One step of giving back: what is gone already is fine, and no step stops the next."""
    try:
        await work
    except AriNotFound:
        pass
    except (AriError, OSError) as error:
        log.warning("release_failed", why=str(error))


async def _cancel(*tasks: "asyncio.Future[None] | asyncio.Task[bool]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
