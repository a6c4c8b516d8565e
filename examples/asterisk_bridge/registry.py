"""All calls of one bridge: who is let in, and what is found in Asterisk that nobody owns."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import structlog

from examples.asterisk_bridge.ari import Ari, AriError, AriNotFound
from examples.asterisk_bridge.ari_events import Bridge, Channel, StasisStart
from examples.asterisk_bridge.config import BridgeConfig
from examples.asterisk_bridge.giving_back import Outcome, Prefixes, send_to_fallback

if TYPE_CHECKING:  # a rescue has none, and what they import takes its time
    from examples.asterisk_bridge.calls import Call

log = structlog.get_logger(__name__)

MakeCall = Callable[[Channel, tuple[str, ...]], "Call"]
NoteRefused = Callable[[Channel, tuple[str, ...], Outcome], None]

_UNANSWERED = ("Ring", "Ringing", "Down")


class Registry:
    """Calls by the id of their caller's channel, each with its task."""

    def __init__(
        self,
        config: BridgeConfig,
        ari: Ari,
        make_call: MakeCall,
        late_s: Callable[[], float] = lambda: 0.0,
        note_refused: NoteRefused = lambda channel, args, why: None,
    ) -> None:
        self._config = config.calls
        self._app = config.ari.app
        self._sweep_s = config.ari.sweep_s
        self._prefixes = Prefixes(config.ari.app)
        self._ari = ari
        self._make_call = make_call
        self._late_s = late_s
        self._note_refused = note_refused
        self._calls: dict[str, Call] = {}
        self._leaving: set[str] = set()
        """Channels of callers who are being sent away."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def calls(self) -> tuple[Call, ...]:
        return tuple(self._calls.values())

    @property
    def tasks(self) -> int:
        """Of calls, and of refusals that are under way."""
        return len(self._tasks)

    def on_start(self, event: StasisStart) -> None:
        """A channel came that no call waits for: a caller, or a media channel of the past."""
        channel = event.channel
        if channel.id.startswith(self._prefixes.media):
            self._spawn(self._hang_up(channel.id), f"stray-{channel.id}")
        else:
            self._admit(channel, event.args)

    async def reconcile(self) -> None:
        """Compare what Asterisk has with what we know.

        A caller whom we have and Asterisk has not is gone. Media channels and bridges that no call
        owns are removed. A caller who is with our application but in no call is taken as a new
        call when nobody has answered yet, else given to the fallback: that conversation is lost.

        Raises:
            AriError: Asterisk cannot be asked.
        """
        known = dict(self._calls)
        channels = await self._ari.channels()
        bridges = await self._ari.bridges()
        there = {channel.id: channel for channel in channels}
        for channel_id, call in known.items():
            if channel_id not in there or not there[channel_id].is_with(self._app):
                call.lost()
        orphans = [each for each in channels if self._is_orphan(each)]
        strays = [each for each in channels if self._is_stray(each)]
        empty = [each for each in bridges if self._is_unowned(each)]
        await asyncio.gather(*(self._take_in(channel) for channel in orphans))
        for stray in strays:
            await self._hang_up(stray.id)
        for bridge in empty:
            with contextlib.suppress(AriNotFound):
                await self._ari.destroy_bridge(bridge.id)
        if orphans or strays or empty:
            log.warning("reconciled", callers=len(orphans), media=len(strays), bridges=len(empty))

    async def sweep(self) -> None:
        """Reconcile every so often, until cancelled."""
        while True:
            await asyncio.sleep(self._sweep_s)
            try:
                await self.reconcile()
            except AriError as error:
                log.warning("sweep_failed", why=str(error))

    async def drain(self) -> None:
        """Take no more calls, and wait for those that are there; what is left is given back."""
        self._draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.drain_s):
                await self._idle.wait()
        for call in self.calls:
            call.abandon()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._config.goodbye_s + self._config.release_s)
        await self.stop()

    async def stop(self) -> None:
        """Cancel what is left. Calls give everything back also then."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _admit(self, channel: Channel, args: tuple[str, ...]) -> None:
        if channel.id in self._calls or channel.id in self._leaving:  # told by event and by sweep
            return
        if self._draining or self._is_full:
            outcome = Outcome.DRAINED if self._draining else Outcome.BUSY
            late_ms = round(self._late_s() * 1000)
            log.warning("call_refused", outcome=outcome, calls=len(self._calls), late_ms=late_ms)
            self._leaving.add(channel.id)
            self._spawn(self._send_away(channel.id, outcome), f"refuse-{channel.id}")
            self._note_refused(channel, args, outcome)
            return
        call = self._make_call(channel, args)
        self._calls[channel.id] = call
        self._idle.clear()
        self._spawn(self._run(call), f"call-{call.id}")

    @property
    def _is_full(self) -> bool:
        """By number, or by what is measured."""
        limit_s = self._config.max_late_ms / 1000
        too_late = limit_s > 0 and bool(self._calls) and self._late_s() > limit_s
        return too_late or len(self._calls) >= self._config.max_calls

    async def _run(self, call: Call) -> None:
        try:
            await call.run()
        finally:
            del self._calls[call.channel_id]
            if not self._calls:
                self._idle.set()

    async def _take_in(self, channel: Channel) -> None:
        if channel.state in _UNANSWERED:
            args = tuple(channel.dialplan.app_data.split(",")[1:])
            log.info("caller_adopted", channel=channel.id)
            self._admit(channel, args)
        else:
            await self._send_away(channel.id, Outcome.LOST)

    async def _send_away(self, channel_id: str, outcome: Outcome) -> None:
        try:
            await send_to_fallback(self._ari, channel_id, outcome, self._config.fallback_context)
        except AriNotFound:
            pass
        except AriError as error:
            log.error("fallback_failed", channel=channel_id, why=str(error))
        finally:
            self._leaving.discard(channel_id)

    async def _hang_up(self, channel_id: str) -> None:
        try:
            await self._ari.hang_up(channel_id)
        except AriNotFound:
            pass
        except AriError as error:
            log.warning("stray_left", channel=channel_id, why=str(error))

    def _is_orphan(self, channel: Channel) -> bool:
        """A caller. Media channels are with the application, too, but they are no callers."""
        if channel.id.startswith(self._prefixes.media):
            return False
        return channel.id not in self._calls and channel.is_with(self._app)

    def _is_stray(self, channel: Channel) -> bool:
        ours = channel.id.startswith(self._prefixes.media)
        return ours and channel.id not in {call.media_id for call in self.calls}

    def _is_unowned(self, bridge: Bridge) -> bool:
        ours = bridge.id.startswith(self._prefixes.bridge)
        return ours and bridge.id not in {call.bridge_id for call in self.calls}

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("task_failed", task=task.get_name(), exc_info=task.exception())
