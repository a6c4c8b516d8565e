"""The journal of all calls: taken at once, stored soon, kept when the database is away."""

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import structlog

from examples.voice_agent.live import LiveCalls
from examples.voice_agent.ports import CallBegan, Entry, Happened
from examples.voice_agent.store.config import JournalConfig
from examples.voice_agent.store.conversations import close_lost
from examples.voice_agent.store.database import DATABASE_ERRORS, Database
from examples.voice_agent.store.metrics import JournalMetrics
from examples.voice_agent.store.records import CallContext, CallRecords, Row
from examples.voice_agent.store.rows import DatabaseAway, RowWriter
from examples.voice_agent.store.spool import Spool, SpoolFull

log = structlog.get_logger(__name__)

_RESERVE = 0.8
"""Beyond this part of the queue only what a transcript needs is taken."""
_TELL_S = 10.0
"""Between two log lines about losses."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    records: CallRecords
    seq: int
    entry: Entry


class CallJournal:
    """The journal of one call: a :class:`~examples.voice_agent.ports.Journal`."""

    def __init__(self, writer: "JournalWriter", context: CallContext) -> None:
        self.context = context
        self._writer = writer
        self._records = CallRecords(context, writer.database.config.prices)
        self._seq = 0

    def write(self, entry: Entry) -> None:
        """Neither blocks nor raises."""
        if isinstance(entry, CallBegan):  # also when the entry itself is lost
            self._records.began_s, self._records.unix_s = entry.at_s, entry.unix_s
        self._writer.take(self._records, self._seq, entry)
        self._seq += 1

    def note(self, *, consent: str | None = None, recording: str | None = None) -> None:
        """What became known after the beginning; for one who awaits nothing."""
        given = {"consent": consent, "recording": recording}
        values = {name: value for name, value in given.items() if value is not None}
        if values:
            self._writer.take_row(self._records.update(**values))


class JournalWriter:
    """One for each process; owns the task that writes. Use it as a context manager.

    It may be entered while the database is away or not migrated yet.
    """

    def __init__(
        self,
        database: Database,
        *,
        instance: str,
        live: LiveCalls | None = None,
        metrics: JournalMetrics | None = None,
    ) -> None:
        self.database = database
        self.instance = instance
        self.lost = 0
        """Rows and entries that were dropped since the start."""
        self._config: JournalConfig = database.config.journal
        self._live = live
        self._metrics = metrics or JournalMetrics()
        self._rows = RowWriter(database)
        self._spool = Spool(self._config.spool / instance, self._config.spool_bytes)
        self._queue: deque[_Waiting | Row] = deque()
        self._wake = asyncio.Event()
        self._under_way = 0
        """Entries that were taken out of the queue and are not in the database yet."""
        self._closing = False
        self._started_unix_s = time.time()
        self._retry_at = 0.0
        self._told_at = -_TELL_S
        self._lost_closed = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._spool.look)
        self._wake.set()  # to close what an earlier process left open
        self._task = asyncio.create_task(self._run(), name="journal")
        self._task.add_done_callback(_tell_death)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._task is not None
        self._closing = True
        self._wake.set()
        await asyncio.wait([self._task], timeout=self._config.close_s)
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=self._config.close_s)
        if self._queue:
            await self._put_by(self._take_batch(len(self._queue)))

    def journal(self, context: CallContext) -> CallJournal:
        """For one call."""
        return CallJournal(self, context)

    @property
    def backlog(self) -> tuple[int, int]:
        """Entries in memory, bytes in the spool."""
        return len(self._queue) + self._under_way, self._spool.size

    # What calls give. On the event loop, at once.

    def take(self, records: CallRecords, seq: int, entry: Entry) -> None:
        if self._live is not None:
            self._live.tell(records.context, records.began_s, seq, entry)
        room = self._config.queue * (_RESERVE if isinstance(entry, Happened) else 1)
        self._put(_Waiting(records, seq, entry), room)

    def take_row(self, row: Row) -> None:
        self._put(row, self._config.queue)

    def _put(self, item: _Waiting | Row, room: float) -> None:
        if len(self._queue) >= room:
            self._lose(1, "the queue is full")
            return
        self._queue.append(item)
        self._metrics.waiting.set(len(self._queue))
        self._wake.set()

    # What the task does.

    async def _run(self) -> None:
        while not (self._closing and not self._queue):
            await self._wait()
            self._under_way = min(len(self._queue), self._config.batch)
            batch = self._take_batch(self._config.batch)
            if self._spool or not self._lost_closed:
                if batch:
                    await self._put_by(batch)
                await self._catch_up()
            elif batch:
                await self._store(batch)
            self._under_way = 0

    async def _wait(self) -> None:
        """For entries, and a moment longer for more of them; or for the next attempt."""
        waits_for_database = bool(self._spool) or not self._lost_closed
        if self._queue:
            self._wake.clear()
            return
        try:
            limit = max(0.0, self._retry_at - time.monotonic()) if waits_for_database else None
            async with asyncio.timeout(limit):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()
        if not self._closing:
            await asyncio.sleep(self._config.linger_s)

    def _take_batch(self, most: int) -> list[Row]:
        rows: list[Row] = []
        for _ in range(min(most, len(self._queue))):
            item = self._queue.popleft()
            rows += [item] if isinstance(item, Row) else self._rows_of(item)
        self._metrics.waiting.set(len(self._queue))
        return rows

    def _rows_of(self, item: _Waiting) -> list[Row]:
        try:
            return item.records.rows(item.seq, item.entry)
        except (TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
            # Somebody's mistake in one entry must not end the journal of all calls.
            self._lose(1, f"a {type(item.entry).__name__} that is none: {error}")
            return []

    async def _store(self, rows: list[Row]) -> None:
        try:
            refused = await self._rows.write(rows)
        except DatabaseAway as error:
            log.warning("the database is away", error=str(error))
            self._retry_at = time.monotonic() + self._config.retry_s
            await self._put_by(rows)
            return
        except asyncio.CancelledError:
            await self._put_by(rows)
            raise
        self._metrics.written.inc(len(rows) - refused)
        if refused:
            self._lose(refused, "the database refuses them")

    async def _put_by(self, rows: list[Row]) -> None:
        """Into the spool."""
        try:
            await asyncio.to_thread(self._spool.append, rows)
            self._metrics.spooled.inc(len(rows))
        except (SpoolFull, OSError) as error:
            self._lose(len(rows), str(error))
        self._metrics.spool_bytes.set(self._spool.size)

    async def _catch_up(self) -> None:
        """Write a part of the spool, if it is time to try."""
        if time.monotonic() < self._retry_at:
            return
        try:
            if self._spool:
                rows = await asyncio.to_thread(self._spool.oldest)
                refused = await self._rows.write(rows)
                await asyncio.to_thread(self._spool.forget_oldest)
                self._metrics.written.inc(len(rows) - refused)
                if refused:
                    self._lose(refused, "the database refuses them")
            if not self._spool and not self._lost_closed:
                await close_lost(self.database, self.instance, self._started_unix_s)
                self._lost_closed = True
        except (DatabaseAway, *DATABASE_ERRORS) as error:
            log.warning("the database is still away", error=str(error))
            self._retry_at = time.monotonic() + self._config.retry_s
        self._metrics.spool_bytes.set(self._spool.size)

    def _lose(self, count: int, reason: str) -> None:
        self.lost += count
        self._metrics.lost.inc(count)
        if time.monotonic() - self._told_at >= _TELL_S:
            self._told_at = time.monotonic()
            log.error("journal entries are lost", reason=reason, lost_so_far=self.lost)


def _tell_death(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("the journal died; nothing is stored any more", error=repr(error))
