"""Calls that are going on, for those who watch. A watcher that is too slow is told to go.

Everything happens on the event loop, and nothing waits: whoever tells is a call.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any

from examples.voice_agent.ports import CallAnswered, CallBegan, CallEnded, Entry
from examples.voice_agent.store.records import CallContext

_QUEUE = 1000
_WATCHERS = 50


class TooManyWatchers(Exception):
    pass


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """One journal entry of a live call."""

    conversation: str
    seq: int
    at_ms: int
    kind: str
    """The entry's class: "CallBegan", "CallerTurn" …"""
    entry: Mapping[str, Any]
    """Its fields but for `at_s`."""


@dataclass(slots=True)
class LiveCall:
    conversation: str
    caller: str
    called: str
    agent: str
    language: str
    started_unix_s: float
    answered: bool = False


@dataclass(eq=False)
class Watcher:
    """Reads what happens, from :meth:`LiveCalls.watch` on."""

    calls: tuple[LiveCall, ...]
    """Those that were live then."""
    queue: "asyncio.Queue[LiveEvent]" = field(default_factory=lambda: asyncio.Queue(_QUEUE))
    too_slow: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when events were missed; there will be no more."""


class LiveCalls:
    """One for each process that carries calls."""

    def __init__(self, *, max_watchers: int = _WATCHERS) -> None:
        self._calls: dict[str, LiveCall] = {}
        self._watchers: set[Watcher] = set()
        self._max_watchers = max_watchers

    @property
    def calls(self) -> tuple[LiveCall, ...]:
        return tuple(self._calls.values())

    def watch(self) -> Watcher:
        """Raises TooManyWatchers. End it with :meth:`leave`."""
        if len(self._watchers) >= self._max_watchers:
            raise TooManyWatchers(f"{self._max_watchers} watch already")
        watcher = Watcher(tuple(LiveCall(**asdict(call)) for call in self.calls))
        self._watchers.add(watcher)
        return watcher

    def leave(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)

    def tell(self, context: CallContext, began_s: float, seq: int, entry: Entry) -> None:
        """What the journal does with every entry."""
        self._note(context.conversation_id, entry)
        if not self._watchers:
            return
        event = LiveEvent(
            conversation=context.conversation_id,
            seq=seq,
            at_ms=round((entry.at_s - began_s) * 1000),
            kind=type(entry).__name__,
            entry=_fields(entry),
        )
        for watcher in list(self._watchers):
            try:
                watcher.queue.put_nowait(event)
            except asyncio.QueueFull:
                watcher.too_slow.set()
                self.leave(watcher)

    def _note(self, conversation: str, entry: Entry) -> None:
        if isinstance(entry, CallBegan):
            info = entry.info
            self._calls[conversation] = LiveCall(
                conversation, info.caller, info.called, entry.agent, entry.language, entry.unix_s
            )
        elif isinstance(entry, CallAnswered) and conversation in self._calls:
            self._calls[conversation].answered = True
        elif isinstance(entry, CallEnded):
            self._calls.pop(conversation, None)


def _fields(entry: Entry) -> dict[str, Any]:
    assert is_dataclass(entry)
    told = asdict(entry)
    told.pop("at_s")
    return told
