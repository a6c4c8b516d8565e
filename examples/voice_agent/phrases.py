"""Sentences that are ready to be played: kept in the process, in the format of the line.

They are what is left to say when a service is away, so they are rendered before they are needed and
outlive the call.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from websockets.exceptions import ConnectionClosed

from examples.voice_agent.config import AgentConfig
from examples.voice_agent.events import TimedWord
from examples.voice_agent.voice import start_for, timed
from services.client.connection import ServiceError
from services.client.tts import TtsStream, open_tts
from services.shared.audio.pcm import AudioFormat
from services.shared.protocol.base import Error
from services.tts.messages import AudioFinished, Start, Words


@dataclass(frozen=True, slots=True)
class Phrase:
    audio: bytes = field(repr=False)
    words: tuple[TimedWord, ...] = ()


_Key = tuple[str, AudioFormat, str]


class PhraseBook:
    """For all calls of a process; what was used least recently goes first."""

    def __init__(self, tts_url: str, key: str | None = None, max_phrases: int = 1000) -> None:
        self._url, self._key = tts_url, key
        self._max = max_phrases
        self._phrases: OrderedDict[_Key, Phrase] = OrderedDict()

    def find(self, config: AgentConfig, audio: AudioFormat, text: str) -> Phrase | None:
        key = _key(config, audio, text)
        phrase = self._phrases.get(key)
        if phrase is not None:
            self._phrases.move_to_end(key)
        return phrase

    async def render(
        self,
        config: AgentConfig,
        audio: AudioFormat,
        texts: Iterable[str],
        *,
        limit_s: float = 10.0,
        call_id: str | None = None,
    ) -> None:
        """Make those that are missing; each gets `limit_s`.

        Args:
            call_id: of the call that needs them, for the service's logs.

        Raises:
            ServiceError: the TTS service cannot be reached, or does not speak this.
        """
        missing = [text for text in texts if text and self.find(config, audio, text) is None]
        if not missing:
            return
        try:
            async with open_tts(self._url, key=self._key, request_id=call_id) as stream:
                for number, text in enumerate(missing):
                    start = start_for(config, audio, f"phrase-{number}")
                    async with asyncio.timeout(limit_s):
                        phrase = await _render(stream, start, text)
                    self._keep(_key(config, audio, text), phrase)
        except TimeoutError:
            raise ServiceError(f"the TTS service took more than {limit_s} s") from None
        except (ConnectionClosed, OSError) as error:
            raise ServiceError(f"the TTS service went away: {error}") from None

    def _keep(self, key: _Key, phrase: Phrase) -> None:
        self._phrases[key] = phrase
        while len(self._phrases) > self._max:
            self._phrases.popitem(last=False)


async def _render(stream: TtsStream, start: Start, text: str) -> Phrase:
    await stream.start(start)
    await stream.send_text(text, start.context_id)
    await stream.end(start.context_id)
    sound, words = bytearray(), list[TimedWord]()
    async for _, message in stream.events():
        match message:
            case bytes():
                sound += message
            case Words():
                words += timed(message)
            case AudioFinished():
                return Phrase(bytes(sound), tuple(words))
            case Error():
                raise ServiceError(message.message, code=message.code, retryable=message.retryable)
    raise ServiceError("the TTS service closed the connection")


def _key(config: AgentConfig, audio: AudioFormat, text: str) -> _Key:
    return f"{config.language}|{config.voice.model_dump_json()}", audio, text
