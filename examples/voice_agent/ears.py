"""The ASR service's part in a call: the caller's audio goes out, what was said comes in."""

import asyncio
from collections import deque
from collections.abc import Callable

from examples.voice_agent.config import AgentConfig
from examples.voice_agent.events import (
    Event,
    FinalHeard,
    HearingBack,
    HearingLost,
    PartialHeard,
    PendingHeard,
    SpeechBegan,
    SpeechResumed,
)
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

_RECONNECT = Reconnect(give_up_s=2.0, dead_s=4.0)
"""Short losses are bridged without a word; after that the caller is told."""
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
    ) -> None:
        self.sent_s = 0.0
        """Audio that was sent to the service."""
        self.connected = asyncio.Event()
        self._url, self._key = url, key
        self._audio = audio
        self._tell = tell
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
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
        """Until cancelled."""
        pause = _FIRST_PAUSE_S
        while True:
            try:
                async with open_asr(
                    self._url, self._start, key=self._key, reconnect=_RECONNECT
                ) as stream:
                    pause = _FIRST_PAUSE_S
                    self.connected.set()
                    self._tell(HearingBack())
                    await self._use(stream)
                reason = "the ASR service ended the session"
            except (ServiceError, TimeoutError, OSError) as error:
                reason = f"the ASR service is away: {error}"
            self.connected.clear()
            self._tell(HearingLost(reason))
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE_S, 2 * pause)

    async def _use(self, stream: AsrStream) -> None:
        sending = asyncio.create_task(self._send(stream))
        try:
            async for at_s, message in stream.events():
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
                await stream.send_audio(audio)
                self.sent_s += len(audio) / self._audio.bytes_per_s
            self._wake.clear()
            await self._wake.wait()


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
            )
        case _:
            return None
