"""The ASR service's part in a call: the caller's audio goes out, what was said comes in."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from examples.voice_agent.config import AgentConfig
from examples.voice_agent.events import (
    Broken,
    Event,
    FinalHeard,
    HearingBack,
    HearingLost,
    HearingReplaced,
    PartialHeard,
    PendingHeard,
    SpeechBegan,
    SpeechResumed,
)
from examples.voice_agent.refusals import is_final, wait_s
from examples.voice_agent.unanswered import Unanswered
from services.asr.messages import (
    Encoding,
    Final,
    Partial,
    ServerMessage,
    SpeechStarted,
    Start,
    TurnPending,
    TurnResumed,
)
from services.client.asr import AsrStream, open_asr
from services.client.connection import ServiceError
from services.client.reconnect import Reconnect
from services.shared.audio.pcm import AudioFormat

_RECONNECT = Reconnect(give_up_s=0.6, dead_s=1.6)
_REPLACE_S = 0.4
"""For another session when one is lost, unheard by the caller; after that they are told. All in
all a service that dies is told of after 1 s, one that hangs after 3 s at most."""
_CONNECT_S = 5.0
_SHORT_S = 2.0
"""Sessions that are lost so soon after one another are not replaced in silence for ever."""
_KEPT_S = 3.0
"""Audio that waits for a connection; the oldest goes first."""
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 2.0


class Ears:
    """:meth:`hear` never waits; :meth:`run` sends, receives, and opens another session."""

    def __init__(
        self,
        url: str,
        key: str | None,
        config: AgentConfig,
        audio: AudioFormat,
        tell: Callable[[Event], None],
        call_id: str | None = None,
    ) -> None:
        self.sent_s = 0.0
        """Audio that was sent to the service."""
        self.connected = asyncio.Event()
        self._url, self._key = url, key
        self._call_id = call_id
        """By it the service's logs tell of the call."""
        self._patience_s = config.limits.asr_away_s
        self._audio = audio
        self._tell = tell
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._unanswered = Unanswered(audio.bytes_per_s / 1000)
        self._replacing = False
        """The last session was lost, and nobody has been told yet."""
        self._start = Start(
            encoding=Encoding(audio.encoding.value),
            sample_rate=audio.sample_rate,
            channels=audio.channels,
            language=config.language.split("-")[0],
            hotwords=config.hearing.hotwords,
            prompt=config.hearing.prompt,
            turn=config.hearing.turn,
        )

    def hear(self, audio: bytes) -> None:
        self._waiting.append(audio)
        self._waiting_bytes += len(audio)
        while self._waiting_bytes > _KEPT_S * self._audio.bytes_per_s:
            self._waiting_bytes -= len(self._waiting.popleft())
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled, or the service refuses for longer than a call can wait."""
        pause = _FIRST_PAUSE_S
        replaced_at = -_SHORT_S
        while True:
            failure: Exception | None = None
            try:
                async with self._session() as stream:
                    pause = _FIRST_PAUSE_S
                    await self._use(stream)
                reason = "the ASR service ended the session"
            except (ServiceError, TimeoutError, OSError) as error:
                if is_final(error, self._patience_s):
                    return self._tell(Broken(f"the ASR service refuses: {error}"))
                failure = error
                reason = f"the ASR service is away: {error or 'no answer in time'}"
            was_good = self.connected.is_set() and time.monotonic() - replaced_at > _SHORT_S
            self.connected.clear()
            self._replacing = was_good
            if was_good:
                replaced_at = time.monotonic()
                continue  # with another session, while the caller notices nothing
            self._tell(HearingLost(reason))
            await asyncio.sleep(wait_s(failure, pause))
            pause = min(_LONGEST_PAUSE_S, 2 * pause)

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[AsrStream]:
        """Another one, which begins with what the last one left unanswered.

        Raises:
            ServiceError, TimeoutError, OSError: there is none, or it is lost.
        """
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(_REPLACE_S if self._replacing else _CONNECT_S):
                opened = open_asr(
                    self._url,
                    self._start,
                    key=self._key,
                    reconnect=_RECONNECT,
                    request_id=self._call_id,
                )
                stream = await stack.enter_async_context(opened)
            again = self._unanswered.take()
            if self._replacing:
                self._tell(HearingReplaced())
                for audio in again:
                    await self._give(stream, audio)
            self.connected.set()
            self._tell(HearingBack())
            yield stream

    async def _use(self, stream: AsrStream) -> None:
        sending = asyncio.create_task(self._send(stream))
        try:
            async for at_s, message in stream.events():
                self._note(message)
                event = _event(at_s, message)
                if event is not None:
                    self._tell(event)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send(self, stream: AsrStream) -> None:
        while True:
            while self._waiting:
                audio = self._waiting.popleft()
                self._waiting_bytes -= len(audio)
                await self._give(stream, audio)
            self._wake.clear()
            await self._wake.wait()

    async def _give(self, stream: AsrStream, audio: bytes) -> None:
        self._unanswered.sent(audio)
        await stream.send_audio(audio)
        self.sent_s += len(audio) / self._audio.bytes_per_s

    def _note(self, message: ServerMessage) -> None:
        match message:
            case SpeechStarted(start_ms=start_ms):
                self._unanswered.speech_started(start_ms)
            case Final(turn_end=True, end_ms=end_ms):
                self._unanswered.turn_ended(end_ms)


def _event(at_s: float, message: ServerMessage) -> Event | None:
    match message:
        case SpeechStarted():
            return SpeechBegan()
        case Partial(text=text):
            return PartialHeard(text)
        case TurnPending(text=text):
            return PendingHeard(text)
        case TurnResumed():
            return SpeechResumed()
        case Final():
            return FinalHeard(
                text=message.text,
                turn_end=message.turn_end,
                confidence=message.confidence,
                language=message.language,
                speech_end_s=at_s - message.timings.total_ms / 1000,
                decode_ms=message.timings.decode_ms,
                queue_ms=message.timings.queue_ms,
                turn_model_ms=message.timings.turn_model_ms,
            )
        case _:
            return None
