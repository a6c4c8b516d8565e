"""The TTS service's part in a call: text goes out, audio comes in, lost connections come back."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Protocol

from websockets.exceptions import ConnectionClosed

from examples.voice_agent.config import AgentConfig
from examples.voice_agent.events import (
    AudioCame,
    AudioComplete,
    Broken,
    Event,
    SpeechFailed,
    TimedWord,
    WordsTimed,
)
from examples.voice_agent.refusals import is_final, wait_s
from services.client.connection import ServiceError
from services.client.tts import TtsStream, open_tts
from services.shared.audio.pcm import AudioFormat
from services.shared.protocol.base import Error, ErrorCode
from services.tts.messages import (
    AudioFinished,
    AudioStarted,
    ServerMessage,
    Start,
    Words,
)

_DEAD_S = 4.0
"""A service that answers no ping for so long is left for another connection."""
_CONNECT_S = 2.0
_PATIENCE_S = 5.0
"""Nobody is kept waiting in silence for longer."""
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 2.0


class AudioSink(Protocol):
    """Where audio goes; :class:`.Mouth` is one."""

    def add(self, utterance: int, audio: bytes) -> None: ...

    def add_words(self, utterance: int, words: tuple[TimedWord, ...]) -> None: ...


Context = tuple[int, int]
"""Utterance and attempt."""


def start_for(config: AgentConfig, audio: AudioFormat, context_id: str) -> Start:
    """How this agent speaks on this line."""
    return Start(
        context_id=context_id,
        voice=config.voice.voice,
        language=config.language,
        encoding=audio.encoding,
        sample_rate=audio.sample_rate,
        speed=config.voice.speed,
        word_timestamps=True,
        lexicon=config.voice.lexicon,
    )


def timed(message: Words) -> tuple[TimedWord, ...]:
    return tuple(TimedWord(each.word, each.start_ms, each.end_ms) for each in message.words)


class Voice:
    """Methods never wait; :meth:`run` sends, receives, and connects again."""

    def __init__(
        self,
        url: str,
        key: str | None,
        config: AgentConfig,
        audio: AudioFormat,
        sink: AudioSink,
        tell: Callable[[Event], None],
        call_id: str | None = None,
    ) -> None:
        self._url, self._key = url, key
        self._call_id = call_id
        """By it the service's logs tell of the call."""
        self._config = config
        self._audio = audio
        self._sink = sink
        self._tell = tell
        self._open: set[Context] = set()
        self._orders: asyncio.Queue[tuple[str, Context, str]] = asyncio.Queue()
        self._speaking: Context | None = None
        """Whose audio comes in."""

    def open(self, utterance: int, attempt: int) -> None:
        self._open.add((utterance, attempt))
        self._order("open", utterance, attempt)

    def say(self, utterance: int, attempt: int, text: str) -> None:
        self._order("say", utterance, attempt, text)

    def say_now(self, utterance: int, attempt: int) -> None:
        self._order("flush", utterance, attempt)

    def end(self, utterance: int, attempt: int) -> None:
        self._order("end", utterance, attempt)

    def cancel(self, utterance: int, attempt: int) -> None:
        self._order("cancel", utterance, attempt)
        self._open.discard((utterance, attempt))

    def _order(self, what: str, utterance: int, attempt: int, text: str = "") -> None:
        if (utterance, attempt) in self._open:
            self._orders.put_nowait((what, (utterance, attempt), text))

    async def run(self) -> None:
        """Until cancelled, or the service refuses for longer than a call can wait."""
        pause = _FIRST_PAUSE_S
        while True:
            failure: Exception | None = None
            try:
                async with AsyncExitStack() as stack:
                    async with asyncio.timeout(_CONNECT_S):
                        opened = open_tts(
                            self._url, key=self._key, dead_s=_DEAD_S, request_id=self._call_id
                        )
                        stream = await stack.enter_async_context(opened)
                    pause = _FIRST_PAUSE_S
                    await self._use(stream)
                reason = "the TTS service closed the connection"
            except (ServiceError, ConnectionClosed, OSError, TimeoutError) as error:
                failure, reason = error, f"the TTS service is away: {error}"
            self._fail_all(reason)
            if failure is not None and is_final(failure, _PATIENCE_S):
                return self._tell(Broken(f"the TTS service refuses: {failure}"))
            await asyncio.sleep(wait_s(failure, pause))
            pause = min(_LONGEST_PAUSE_S, 2 * pause)

    async def _use(self, stream: TtsStream) -> None:
        """Until the connection is lost."""
        sending = asyncio.create_task(self._send(stream))
        try:
            async for _, message in stream.events():
                if isinstance(message, bytes):
                    self._take_audio(message)
                    continue
                self._take(message)
                if isinstance(message, Error) and message.code is ErrorCode.QUOTA_EXCEEDED:
                    raise ServiceError(message.message, code=message.code)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send(self, stream: TtsStream) -> None:
        known: set[Context] = set()
        while True:
            what, context, text = await self._orders.get()
            context_id = f"{context[0]}.{context[1]}"
            if what == "open":
                known.add(context)
                await stream.start(start_for(self._config, self._audio, context_id))
            elif context not in known:
                continue  # it belonged to a connection that was lost
            elif what == "say":
                await stream.send_text(text, context_id)
            elif what == "flush":
                await stream.flush(context_id)
            elif what == "end":
                await stream.end(context_id)
            else:
                known.discard(context)
                await stream.cancel(context_id)

    def _take_audio(self, audio: bytes) -> None:
        context = self._speaking
        if context in self._open and context is not None:
            self._sink.add(context[0], audio)
            self._tell(AudioCame(*context, len(audio) / self._audio.bytes_per_s * 1000))

    def _take(self, message: ServerMessage) -> None:
        context = _context(getattr(message, "context_id", None))
        if isinstance(message, AudioStarted):
            self._speaking = context
        if context is None or context not in self._open:
            return
        match message:
            case Words():
                self._sink.add_words(context[0], timed(message))
                self._tell(WordsTimed(*context, timed(message)))
            case AudioFinished():
                self._open.discard(context)
                self._tell(AudioComplete(*context))
            case Error():
                self._open.discard(context)
                self._tell(SpeechFailed(*context, message.message))

    def _fail_all(self, reason: str) -> None:
        while not self._orders.empty():
            self._orders.get_nowait()
        failed, self._open = self._open, set()
        self._speaking = None
        for context in sorted(failed):
            self._tell(SpeechFailed(*context, reason))


def _context(context_id: str | None) -> Context | None:
    if context_id is None:
        return None
    utterance, _, attempt = context_id.partition(".")
    return int(utterance), int(attempt)
