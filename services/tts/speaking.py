"""A session's contexts in the order in which they are heard, and the jobs that make them audio.

Sans-I/O: gives commands. Audio of a later segment or context waits here for its turn; how much of
it there can be, `look_ahead` bounds.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator
from itertools import count

from services.shared.protocol.base import Message, ProtocolError
from services.tts.commands import (
    CancelJob,
    Close,
    CloseAudio,
    Command,
    DrainAudio,
    OpenAudio,
    Send,
    SendAudio,
    Synthesize,
)
from services.tts.context import Context, FlushMark, Utterance
from services.tts.engines.base import AudioPiece, EngineError
from services.tts.messages import (
    AudioFinished,
    AudioStarted,
    Cancelled,
    Flushed,
    SpokenWord,
    Words,
)
from services.tts.pacing import Pacer

_REMEMBERED = 64
"""Closed contexts whose names are kept, to tell a late message from a wrong one."""


class SpeakingQueue:
    """Speaks contexts one after the other.

    Args:
        look_ahead: segments being synthesised or waiting to be sent.
    """

    def __init__(self, look_ahead: int) -> None:
        self.contexts: OrderedDict[str, Context] = OrderedDict()
        """The open contexts; the first one is being heard."""
        self.closed: deque[str] = deque(maxlen=_REMEMBERED)
        self.failed: deque[str] = deque(maxlen=_REMEMBERED)
        self._look_ahead = look_ahead
        self._pacer = Pacer()
        self._jobs: dict[int, tuple[Context, Utterance]] = {}
        self._job_ids = count(1)

    def add(self, context: Context) -> None:
        self.contexts[context.id] = context
        for names in (self.closed, self.failed):
            if context.id in names:
                names.remove(context.id)  # a name may be used again

    def take_audio(self, job_id: int, piece: AudioPiece) -> None:
        """The next audio of a job; ignored when the job was cancelled."""
        if job := self._jobs.get(job_id):
            job[1].add(piece)

    def take_end(self, job_id: int, error: EngineError | None = None) -> None:
        """A job gave all its audio, or failed; ignored when the job was cancelled."""
        if job := self._jobs.pop(job_id, None):
            job[1].done, job[1].error = True, error

    @property
    def paced_at(self) -> float | None:
        """When :meth:`advance` may send more of what is there; None: it waits for nothing."""
        context = next(iter(self.contexts.values()), None)
        if context is None or context.lead_s is None or not context.plan:
            return None
        item = context.plan[0]
        if isinstance(item, FlushMark) or not item.pieces:
            return None
        return self._pacer.next_at(context.lead_s)

    def paced(self, job_id: int) -> bool:
        job = self._jobs.get(job_id)
        return job is not None and job[0].lead_s is not None

    def ahead_s(self, job_id: int) -> float:
        """Audio that is heard after what was sent and before this job's next piece, roughly."""
        job = self._jobs.get(job_id)
        ahead = 0.0
        for context in self.contexts.values():
            for item in context.plan:
                if isinstance(item, FlushMark):
                    continue
                ahead += item.waiting_samples / context.voice.sample_rate
                if job is not None and item is job[1]:
                    return ahead
                ahead += item.missing_samples / context.voice.sample_rate
        return ahead

    def advance(self, now: float) -> Iterator[Command]:
        """Send what is ready, in order, and have the next segments made."""
        while self.contexts:
            context = next(iter(self.contexts.values()))
            yield from self._send_ready(context, now)
            if context.id in self.contexts:
                break
        yield from self._ask_ahead(now)

    def cancel(self, context: Context, now: float) -> Iterator[Command]:
        """Speak nothing more of `context`."""
        if next(iter(self.contexts)) == context.id:
            self._pacer.stopped(now)
        yield from self._remove(context, now)
        yield Send(
            Cancelled(
                context_id=context.id, sent_ms=context.sent_ms, spoken_text=context.spoken_text()
            )
        )

    def _send_ready(self, context: Context, now: float) -> Iterator[Command]:
        """Send what the first context has; removes it when it is through."""
        while context.plan:
            item = context.plan[0]
            if isinstance(item, FlushMark):
                yield from self._drain(context)
                yield Send(Flushed(context_id=context.id, audio_ms=context.sent_ms))
            elif item.wording is None:
                context.read(0)
                continue
            else:
                yield from self._send_pieces(context, item, now)
                if item.error is not None and not item.pieces:
                    yield from self._fail(context, item.error, now)
                    return
                if item.pieces or not item.done:
                    return
                context.record_spoken(item)
            context.plan.popleft()
        if context.ended:
            yield from self._drain(context)
            yield from self._remove(context, now)
            yield Send(
                AudioFinished(
                    context_id=context.id,
                    audio_ms=context.sent_ms,
                    first_audio_ms=context.first_audio_ms,
                )
            )

    def _send_pieces(self, context: Context, utterance: Utterance, now: float) -> Iterator[Command]:
        rate, lead_s = context.voice.sample_rate, context.lead_s
        while utterance.pieces:
            room = None if lead_s is None else self._pacer.room(now, rate, lead_s)
            if room == 0:
                return
            piece = utterance.take(room)
            self._pacer.sent(len(piece.samples), rate, now)
            if len(piece.samples) and not context.opened:
                context.opened = True
                yield from self._open(context)
            before = context.sent_samples - utterance.sent_samples
            begins_ms = before * 1000 // rate
            if piece.words and context.start.word_timestamps:
                yield Send(_words(context.id, piece, begins_ms))
            if len(piece.samples):
                yield SendAudio(context.id, piece.samples, utterance.asked_at)
            context.record_sent(utterance, piece, now)

    def _open(self, context: Context) -> Iterator[Command]:
        start, rate = context.start, context.sample_rate
        paced = start.pacing is not None
        yield OpenAudio(context.id, context.voice.sample_rate, start.encoding, rate, paced)
        yield Send(AudioStarted(context_id=context.id, encoding=start.encoding, sample_rate=rate))

    def _drain(self, context: Context) -> Iterator[Command]:
        if context.opened:
            yield DrainAudio(context.id)

    def _fail(self, context: Context, error: EngineError, now: float) -> Iterator[Command]:
        yield from self._drain(context)
        yield from self._remove(context, now)
        self.failed.append(context.id)
        told = ProtocolError(
            error.code, error.message, context_id=context.id, retryable=error.retryable
        )
        yield Send(told.to_message())
        if told.traits.close is not None:
            yield Close(told.traits.close)

    def _remove(self, context: Context, now: float) -> Iterator[Command]:
        """Forget a context and all that is under way for it."""
        for job_id in [job_id for job_id, job in self._jobs.items() if job[0] is context]:
            del self._jobs[job_id]
            yield CancelJob(job_id)
        if context.opened:
            yield CloseAudio(context.id)
        was_heard = next(iter(self.contexts)) == context.id
        del self.contexts[context.id]
        self.closed.append(context.id)
        if was_heard and self.contexts:
            next(iter(self.contexts.values())).take_turn(now)

    def _ask_ahead(self, now: float) -> Iterator[Command]:
        """Have segments synthesised, the next to be heard first."""
        room = self._look_ahead
        for context in self.contexts.values():
            for item in _read_items(context):
                if room <= 0:
                    return
                if isinstance(item, FlushMark) or item.request is None:
                    continue
                room -= 1
                if item.waits:
                    item.job_id, item.asked_at = next(self._job_ids), now
                    self._jobs[item.job_id] = (context, item)
                    cache = context.start.cache
                    yield Synthesize(item.job_id, context.id, item.request, cache)
            if not context.ended:
                return  # its next words come before those of the contexts behind it


def _read_items(context: Context) -> Iterator[Utterance | FlushMark]:
    """What the context plans; how it is said is decided no sooner than it is looked at."""
    index = 0
    while index < len(context.plan):
        item = context.plan[index]
        if isinstance(item, Utterance) and item.wording is None:
            context.read(index)
            continue
        yield item
        index += 1


def _words(context_id: str, piece: AudioPiece, begins_ms: int) -> Message:
    words = tuple(
        SpokenWord(
            word=word.word, start_ms=begins_ms + word.start_ms, end_ms=begins_ms + word.end_ms
        )
        for word in piece.words
    )
    return Words(context_id=context_id, words=words)
