"""One caller's way to the ASR service: speaks into it, all the time, and waits for finals."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable

from websockets.exceptions import ConnectionClosed

from services.asr.messages import (
    Final,
    ServerMessage,
    Start,
    Stopped,
    TurnMode,
    TurnOptions,
)
from services.bench.cluster.fingerprints import EDGE_MS, heard_right
from services.bench.cluster.manner import Manner
from services.bench.cluster.records import Diary, Outage, Turn
from services.bench.cluster.speech import FRAME_MS, Microphone, Utterance
from services.client.asr import AsrStream, open_asr
from services.client.connection import ServiceError
from services.client.reconnect import Reconnect, ResumingAsrStream
from services.shared.protocol.base import Error, ErrorCode

SILENCE_MS = 700
"""Ends a turn that is not flushed; longer than any pause inside the recordings."""

_PATIENCE = Reconnect(give_up_s=20.0)
_NOTE_EVERY = 50
"""Chunks; how late one of them was is noted."""
_LATE_S = 5.0
"""Behind by more than this the line goes on from now: nobody says minutes in one second."""

_LOST = (ServiceError, ConnectionClosed, OSError, TimeoutError)


class Ears:
    """Keeps a session open as long as :meth:`run` runs; :meth:`say` is one turn."""

    def __init__(self, manner: Manner, diary: Diary, others: Callable[[], Microphone]) -> None:
        """
        Args:
            others: another caller's line, to see that its audio would not pass for this one's.
        """
        self.line = Microphone(diary.number)
        self._manner = manner
        self._diary = diary
        self._others = others
        self._turn: Turn | None = None
        self._finals: list[Final] = []
        self._utterance: Utterance | None = None
        self._answered = asyncio.Event()
        self._leaving = False
        self._stream: AsrStream | None = None
        self._last: AsrStream | None = None
        """The session that is there, or was there last."""
        self._connections = 0
        self._heard_ms = 0
        """Where the latest final with text ended, in this session."""
        self._outage: Outage | None = None

    async def run(self) -> None:
        """Have a session, again and again, until :meth:`leave`."""
        while not self._leaving:
            try:
                await self._session()
            except _LOST as loss:
                await self._lost(loss)

    async def say(self, utterance: Utterance, *, flush: bool) -> Turn:
        """Say it, and wait until it is answered; what a lost session has cost is said again."""
        turn = Turn(time.monotonic(), flush)
        self._diary.turns.append(turn)
        self._answered.clear()
        self._finals.clear()
        self._turn, self._utterance = turn, utterance
        if self._stream is not None:
            self._begin(turn, utterance)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(utterance.seconds + self._manner.answer_within_s):
                await self._answered.wait()
        await self._listen_for_doubles()
        self._turn = None
        return turn

    def leave(self) -> None:
        """End the session as one should."""
        self._leaving = True

    def _begin(self, turn: Turn, utterance: Utterance) -> None:
        turn.said += 1
        turn.flushed_s = None
        self._finals.clear()
        self.line.say(utterance)

    async def _listen_for_doubles(self) -> None:
        """A second answer would come at once behind the first."""
        if self._turn is not None and self._turn.answered:
            await asyncio.sleep(0.05)

    # A session.

    async def _session(self) -> None:
        start = Start(
            language="en",
            partials=self._manner.partials,
            word_timestamps=self._manner.exact,
            turn=self._turn_options(),
        )
        patience = _PATIENCE if self._manner.resume else None
        url, key = self._manner.asr_url, self._manner.asr_key
        async with open_asr(url, start, key=key, reconnect=patience) as stream:
            self._ready(stream)
            speaking = asyncio.create_task(self._speak(stream))
            try:
                async for at, message in stream.events():
                    self._take(at, message)
                if not self._leaving:
                    raise ServiceError("the session was ended", code="ended")
            finally:
                self._stream = None
                speaking.cancel()
                await asyncio.gather(speaking, return_exceptions=True)

    def _turn_options(self) -> TurnOptions:
        if not self._manner.exact:
            return TurnOptions()
        return TurnOptions(mode=TurnMode.SILENCE, silence_ms=SILENCE_MS)

    def _ready(self, stream: AsrStream) -> None:
        self._stream = self._last = stream
        self._connections = 1
        self._heard_ms = 0
        if self._outage is not None:
            self._outage.back_s, self._outage.how = time.monotonic(), "new"
            self._outage = None
        self.line.restart()
        if self._turn is not None and self._utterance is not None and not self._turn.answered:
            self._begin(self._turn, self._utterance)

    async def _lost(self, loss: Exception) -> None:
        """Note it, and wait a little before the next attempt."""
        if self._leaving:
            return
        if self._outage is not None or self._last is None:
            self._diary.refused += 1
        else:
            self._outage = Outage("asr", self._lost_at(), why_of(loss))
            self._diary.outages.append(self._outage)
        await asyncio.sleep(random.uniform(*self._manner.come_back_s))

    def _lost_at(self) -> float:
        """A stream that comes back knows it; it may have tried for a while."""
        stream = self._last
        if not isinstance(stream, ResumingAsrStream) or stream.lost_at is None:
            return time.monotonic()
        return stream.lost_at if stream.lost_at > stream.connected_at else time.monotonic()

    async def _speak(self, stream: AsrStream) -> None:
        """A frame every 20 ms, never early, and the flush right behind the last one."""
        due, count = time.monotonic(), 0
        while not self._leaving:
            due += FRAME_MS / 1000
            late = time.monotonic() - due
            if late < 0:
                await asyncio.sleep(-late)
                late = time.monotonic() - due
            elif late > _LATE_S:
                due = time.monotonic()
            if (count := count + 1) % _NOTE_EVERY == 0:
                self._diary.lateness_s.append(late)
                self._note_resumption(stream)
            was_speaking = self.line.speaking
            await stream.send_audio(self.line.frame())
            turn = self._turn
            if turn is not None and turn.flush and was_speaking and not self.line.speaking:
                turn.flushed_s = time.monotonic()
                await stream.flush()
        await stream.stop()

    def _note_resumption(self, stream: AsrStream) -> None:
        if not isinstance(stream, ResumingAsrStream) or stream.connections == self._connections:
            return
        self._connections = stream.connections
        lost_at = stream.lost_at if stream.lost_at is not None else stream.connected_at
        self._diary.outages.append(
            Outage("asr", lost_at, "connection lost", stream.connected_at, "resumed")
        )

    # What comes back.

    def _take(self, at: float, message: ServerMessage) -> None:
        if isinstance(message, Final):
            self._take_final(at, message)
        elif isinstance(message, Stopped):
            self._diary.stopped += 1
            self._diary.dropped_ms += message.dropped_ms
        elif isinstance(message, Error) and message.code is not ErrorCode.SHUTTING_DOWN:
            self._diary.errors.append(f"asr {message.code.value}")

    def _take_final(self, at: float, final: Final) -> None:
        if final.text:
            self._check_place(final)
        turn = self._turn
        if turn is None or turn.said == 0:
            self._take_unexpected(final)
            return
        if turn.answered:
            # A flush that came behind the end of its turn is answered by an empty one; words are
            # the rest of an utterance whose line had come to a halt. Audio that was covered before
            # has been noticed already.
            turn.cuts += final.turn_end and bool(final.text)
            return
        self._finals.append(final)
        if not final.turn_end:
            return
        if not self._is_last(turn, final):
            turn.cuts += 1
            return
        turn.final_s = at
        turn.decode_ms = final.timings.decode_ms
        self._judge(turn)
        self._answered.set()

    def _check_place(self, final: Final) -> None:
        """Finals partition the audio: none begins before the end of the one before."""
        if final.start_ms < self._heard_ms:
            self._diary.doubled += 1
        self._heard_ms = max(self._heard_ms, final.end_ms)

    def _take_unexpected(self, final: Final) -> None:
        """The rest of an utterance whose line had come to a halt, or somebody else's."""
        if not final.text:
            return
        if self._manner.exact and not heard_right([final], self.line, (0, 0)).own:
            self._diary.crossed.append(f"final {final.text[:60]!r}")
        else:
            self._diary.late += 1

    def _is_last(self, turn: Turn, final: Final) -> bool:
        """It reaches to the end of what was said."""
        if turn.flush and turn.flushed_s is None:
            return False
        margin = EDGE_MS if self._manner.exact else SILENCE_MS
        return not self.line.speaking and final.end_ms >= self.line.speech_ms()[1] - margin

    def _judge(self, turn: Turn) -> None:
        assert self._utterance is not None
        if self._manner.exact:
            bounds = self.line.speech_ms()
            heard = heard_right(self._finals, self.line, bounds)
            turn.own, turn.whole = heard.own, heard.whole
            foreign = heard_right(self._finals, self._others(), bounds)
            turn.foreign_would_pass = foreign.own
            return
        said, heard_words = set(_words(self._utterance.text)), set[str]()
        for final in self._finals:
            heard_words.update(_words(final.text))
        turn.own = len(said & heard_words) >= self._manner.alike * len(said)


def _words(text: str) -> list[str]:
    kept = (character if character.isalnum() else " " for character in text.lower())
    return "".join(kept).split()


def why_of(loss: Exception) -> str:
    """In few words, the same for the same reason."""
    if isinstance(loss, ServiceError):
        return loss.code
    if isinstance(loss, ConnectionClosed):
        closed = loss.rcvd
        return f"closed {closed.code} {closed.reason}".strip() if closed else "closed 1006"
    return type(loss).__name__
