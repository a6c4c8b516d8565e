"""One caller's way to the TTS service: text in tokens, audio that is played in real time."""

import asyncio
import contextlib
import random
import time

from websockets.exceptions import ConnectionClosed

from services.bench.cluster.ears import why_of
from services.bench.cluster.fingerprints import SOUND, FakeVoice
from services.bench.cluster.manner import Manner
from services.bench.cluster.records import Diary, Outage, Reply
from services.bench.tts_playback import Player
from services.bench.tts_text import tokens_of
from services.client.connection import ServiceError
from services.client.tts import TtsStream, open_tts
from services.shared.protocol.base import Error, ErrorCode
from services.tts.messages import AudioFinished, AudioStarted, CacheUse, ServerMessage, Start

_LOST = (ServiceError, ConnectionClosed, OSError, TimeoutError)
_WAIT_S = 1.0
"""After a context was declined because of the load."""


class Voice:
    """Keeps a session open as long as :meth:`run` runs; :meth:`hear` is one reply."""

    def __init__(self, manner: Manner, diary: Diary, fake: FakeVoice) -> None:
        self._manner = manner
        self._diary = diary
        self._fake = fake
        self._stream: TtsStream | None = None
        self._there = asyncio.Event()
        self._gone = asyncio.Event()
        self._outage: Outage | None = None
        self._opened = False
        self._leaving = False
        self._reply: Reply | None = None
        self._context = ""
        self._audio = bytearray()
        self._player = Player()
        self._done = asyncio.Event()

    async def run(self) -> None:
        """Have a session, again and again, until :meth:`leave`."""
        while not self._leaving:
            try:
                await self._session()
            except _LOST as loss:
                await self._lost(loss)

    async def leave(self) -> None:
        """End the session as one should; one that is away must come back before that."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._manner.answer_within_s):
                await self._there.wait()
        self._leaving = True
        if self._stream is not None:
            with contextlib.suppress(ConnectionClosed):
                await self._stream.close()

    async def hear(self, beginning: str, rest: str) -> Reply:
        """Have it spoken, and play it; a reply that a lost session has cost is asked for again."""
        reply = Reply(time.monotonic())
        self._diary.replies.append(reply)
        self._reply = reply
        limit_s = self._manner.answer_within_s + len(beginning + rest) / 5
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while reply.finished_s is None:
                    await self._there.wait()
                    await self._ask(reply, beginning, rest)
        self._judge(reply, beginning + rest)
        self._reply = None
        await asyncio.sleep(max(0.0, self._player.until_s - time.monotonic()))
        return reply

    async def _ask(self, reply: Reply, beginning: str, rest: str) -> None:
        """One attempt; returns when it is finished, or of no use any more."""
        assert self._stream is not None
        reply.asked += 1
        reply.first_s = reply.flushed_s = None
        self._context = f"{self._diary.number}-{len(self._diary.replies)}-{reply.asked}"
        self._audio.clear()
        self._player = Player()
        self._done.clear()
        self._gone.clear()
        telling = asyncio.create_task(self._tell(self._stream, reply, beginning, rest))
        ends = [asyncio.create_task(event.wait()) for event in (self._done, self._gone)]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (telling, *ends):
                task.cancel()
            await asyncio.gather(telling, *ends, return_exceptions=True)
        if reply.finished_s is None and reply.first_s is not None:
            reply.broken_off += 1
        if reply.finished_s is None and self._stream is not None:
            await asyncio.sleep(_WAIT_S)  # declined, not lost

    async def _tell(self, stream: TtsStream, reply: Reply, beginning: str, rest: str) -> None:
        """The language model's tokens at their pace; the beginning is to be spoken at once."""
        context, pace = self._context, self._manner.tokens_per_s
        await stream.start(
            Start(
                context_id=context,
                encoding=SOUND.encoding,
                sample_rate=SOUND.sample_rate,
                cache=CacheUse.BYPASS,
            )
        )
        due = time.monotonic()
        for number, text in enumerate((beginning, rest)):
            for token in tokens_of(text):
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                due += 1 / pace
                await stream.send_text(token, context)
            if number == 0:
                reply.flushed_s = time.monotonic()
                await stream.flush(context)
        await stream.end(context)

    def _judge(self, reply: Reply, text: str) -> None:
        reply.received_ms = len(self._audio) / SOUND.bytes_per_s * 1000
        reply.underruns = len(self._player.underruns)
        if self._manner.exact and reply.finished_s is not None:
            reply.own = bytes(self._audio) == self._fake.audio(text)

    # A session.

    async def _session(self) -> None:
        async with open_tts(self._manner.tts_url, key=self._manner.tts_key) as stream:
            self._ready(stream)
            try:
                async for at, message in stream.events():
                    self._take(at, message)
                if not self._leaving:
                    raise ServiceError("the session was ended", code="ended")
            finally:
                self._stream = None
                self._there.clear()
                self._gone.set()

    def _ready(self, stream: TtsStream) -> None:
        self._stream, self._opened = stream, True
        if self._outage is not None:
            self._outage.back_s, self._outage.how = time.monotonic(), "new"
            self._outage = None
        self._there.set()

    async def _lost(self, loss: Exception) -> None:
        if self._leaving:
            return
        if self._outage is not None or not self._opened:
            self._diary.refused += 1
        else:
            self._outage = Outage("tts", time.monotonic(), why_of(loss))
            self._diary.outages.append(self._outage)
        await asyncio.sleep(random.uniform(*self._manner.come_back_s))

    # What comes back.

    def _take(self, at: float, message: ServerMessage | bytes) -> None:
        if isinstance(message, bytes):
            self._sound(at, message)
        elif isinstance(message, Error):
            self._error(message)
        elif isinstance(message, AudioStarted):
            if message.context_id != self._context:
                self._diary.crossed.append(f"audio of context {message.context_id}")
        elif isinstance(message, AudioFinished):
            self._finish(at, message)

    def _sound(self, at: float, data: bytes) -> None:
        if self._reply is None or self._reply.finished_s is not None:
            self._diary.crossed.append(f"{len(data)} bytes of audio")
            return
        if self._reply.first_s is None:
            self._reply.first_s = at
        self._player.push(at, len(data) / SOUND.bytes_per_s)
        self._audio += data

    def _finish(self, at: float, message: AudioFinished) -> None:
        if self._reply is None or message.context_id != self._context:
            self._diary.crossed.append(f"the end of context {message.context_id}")
            return
        self._reply.finished_s, self._reply.told_ms = at, message.audio_ms
        self._done.set()

    def _error(self, error: Error) -> None:
        if error.code is ErrorCode.OVERLOADED:
            self._diary.refused += 1
            self._done.set()
        elif error.code is not ErrorCode.SHUTTING_DOWN:  # the outage that follows tells of it
            self._diary.errors.append(f"tts {error.code.value}")
