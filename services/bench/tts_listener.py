"""One simulated listener: is told answers, plays them, interrupts some, pauses in between."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

from websockets.exceptions import ConnectionClosed

from services.bench.tts_playback import Player
from services.bench.tts_text import first_clause_end, tokens_of
from services.client.connection import ServiceError
from services.client.tts import TtsStream, open_tts
from services.shared.audio.pcm import AudioFormat
from services.shared.protocol.base import Error, ErrorCode
from services.tts.messages import AudioFinished, AudioStarted, Cancelled, ServerMessage, Start

_SLACK_S = 60.0
"""Longest wait for an answer beyond the time that its text and sound take."""
_CANCEL_WITHIN_S = 0.3
"""Interruptions come so soon after the first sound that the engine is still at work."""
_ANSWER_S = 3.0
"""About as long as an answer: listeners begin at any moment of an answer and the pause after it."""

_COME_BACK_S = 1.0

Event = tuple[float, ServerMessage | bytes]


@dataclass(frozen=True, slots=True)
class Manner:
    """How a listener behaves."""

    url: str
    """`ws://host:port`"""
    key: str | None = None
    tokens_per_s: float | None = None
    """Pace of the language model; None: the whole text at once."""
    talk_share: float = 1.0
    """Part of the time in which it hears speech; the rest are pauses, as in a conversation."""
    cancel_share: float = 0.0
    """Part of the answers that it interrupts."""
    play: bool = True
    """Wait until the sound is played before the next answer."""
    keep_audio: bool = False
    start: dict[str, Any] = field(default_factory=dict)
    """Fields of every `start` message: voice, encoding, sample_rate …"""


@dataclass(slots=True)
class Answer:
    """One utterance as it was heard; times in seconds of `time.monotonic()`."""

    text: str
    began_s: float
    """When its first text was sent."""
    clause_s: float | None = None
    """When its first speakable clause was complete."""
    written_s: float | None = None
    """When its last text was sent."""
    sound: AudioFormat | None = None
    player: Player = field(default_factory=Player)
    first_s: float | None = None
    """When its first audio arrived."""
    last_s: float | None = None
    cancel_sent_s: float | None = None
    cancelled_s: float | None = None
    finished: AudioFinished | None = None
    cancelled: Cancelled | None = None
    bytes_after_cancel: int = 0
    audio: bytearray = field(default_factory=bytearray, repr=False)
    error: str | None = None
    refused: bool = False
    """The error was that the service has too much to do."""

    def receive(self, at: float, message: ServerMessage | bytes, *, keep: bool) -> bool:
        """Take in what came at `at`; True when it was the last of this answer."""
        if isinstance(message, bytes):
            self._sound(at, message, keep)
        elif isinstance(message, AudioStarted):
            self.sound = AudioFormat(message.encoding, message.sample_rate)
        elif isinstance(message, AudioFinished):
            self.finished = message
        elif isinstance(message, Cancelled):
            self.cancelled, self.cancelled_s = message, at
        elif isinstance(message, Error):
            self.error = f"{message.code.value}: {message.message}"
            self.refused = message.code is ErrorCode.OVERLOADED
        return bool(self.finished or self.cancelled or self.error)

    def _sound(self, at: float, data: bytes, keep: bool) -> None:
        assert self.sound is not None, "audio before audio_started"
        self.first_s = at if self.first_s is None else self.first_s
        self.last_s = at
        self.player.push(at, len(data) / self.sound.bytes_per_s)
        if keep:
            self.audio += data


async def listen(manner: Manner, texts: Iterator[str], rng: random.Random) -> list[Answer]:
    """Hear all of `texts` in one session; failures are noted in the answers, not raised.

    A listener whom the service refuses for its load comes back a second later.
    """
    answers: list[Answer] = []
    await asyncio.sleep(rng.uniform(0, _ANSWER_S / manner.talk_share) if manner.play else 0)
    for text in texts:
        answers.append(Answer(text, time.monotonic()))
        await _session(manner, texts, answers, rng)
        if not answers[-1].refused:
            break
        await asyncio.sleep(_COME_BACK_S)
    return answers


async def _session(
    manner: Manner, texts: Iterator[str], answers: list[Answer], rng: random.Random
) -> None:
    """Hear the text of the last answer and all that follow; ends early on a failure."""
    try:
        async with open_tts(manner.url, key=manner.key) as stream:
            events = stream.events()
            while True:
                await _hear(stream, events, manner, answers, f"a{len(answers)}", rng)
                if answers[-1].error is None:
                    await _pause(manner, answers[-1], rng)
                text = next(texts, None)
                if text is None:
                    return
                answers.append(Answer(text, time.monotonic()))
    except (ServiceError, ConnectionClosed, OSError, TimeoutError, StopAsyncIteration) as error:
        answers[-1].error = f"{type(error).__name__}: {error}"
        answers[-1].refused = getattr(error, "code", None) == ErrorCode.OVERLOADED.value


async def _hear(
    stream: TtsStream,
    events: AsyncIterator[Event],
    manner: Manner,
    answers: list[Answer],
    context_id: str,
    rng: random.Random,
) -> None:
    answer = answers[-1]
    sounding = asyncio.Event()
    interrupt_after = rng.uniform(0, _CANCEL_WITHIN_S) if _drawn(manner, rng) else None
    telling = asyncio.create_task(
        _tell(stream, manner, answer, context_id, sounding, interrupt_after)
    )
    try:
        async with asyncio.timeout(_SLACK_S + len(answer.text) / 5):
            while True:
                at, message = await anext(events)
                if isinstance(message, bytes) and answer.sound is None and len(answers) > 1:
                    answers[-2].bytes_after_cancel += len(message)
                    continue
                done = answer.receive(at, message, keep=manner.keep_audio)
                if answer.first_s is not None:
                    sounding.set()
                if done:
                    break
    finally:
        telling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await telling


def _drawn(manner: Manner, rng: random.Random) -> bool:
    return rng.random() < manner.cancel_share


async def _tell(
    stream: TtsStream,
    manner: Manner,
    answer: Answer,
    context_id: str,
    sounding: asyncio.Event,
    interrupt_after: float | None,
) -> None:
    """Send the text as it is written, and interrupt if so decided."""
    await stream.start(Start(context_id=context_id, **manner.start))
    writing = asyncio.create_task(_write(stream, manner, answer, context_id))
    try:
        if interrupt_after is None:
            await writing
            return
        await sounding.wait()
        await asyncio.sleep(interrupt_after)
    finally:
        writing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writing
    answer.cancel_sent_s = time.monotonic()
    await stream.cancel(context_id)


async def _write(stream: TtsStream, manner: Manner, answer: Answer, context_id: str) -> None:
    """Send tokens at the language model's pace, never early."""
    pace = manner.tokens_per_s
    tokens = tokens_of(answer.text) if pace else [answer.text]
    needed, sent = first_clause_end(answer.text), 0
    answer.began_s = time.monotonic()
    for number, token in enumerate(tokens):
        if pace and (early := answer.began_s + number / pace - time.monotonic()) > 0:
            await asyncio.sleep(early)
        sent += len(token)
        if sent >= needed and answer.clause_s is None:
            answer.clause_s = time.monotonic()
        await stream.send_text(token, context_id)
    answer.written_s = time.monotonic()
    await stream.end(context_id)


async def _pause(manner: Manner, answer: Answer, rng: random.Random) -> None:
    """Let the sound play out, unless it was interrupted; then be silent for its share."""
    if not manner.play:
        return
    now = time.monotonic()
    if answer.cancelled is None and answer.player.until_s > now:
        await asyncio.sleep(answer.player.until_s - now)
    talked = time.monotonic() - (answer.player.began_s or now)
    await asyncio.sleep(talked * (1 / manner.talk_share - 1) * rng.uniform(0.5, 1.5))
