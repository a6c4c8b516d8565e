"""The seam between a call and how its audio gets to Asterisk and back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from examples.asterisk_bridge.ari_events import Channel
from examples.voice_agent.playout import FRAME_MS
from examples.voice_agent.transport import AudioIn, MarkPlayed
from services.shared.audio.pcm import AudioFormat, Encoding

Deliver = Callable[[AudioIn | MarkPlayed], None]
"""Takes what a media brings; never waits."""


class MediaError(Exception):
    """The audio of a call cannot be connected, or was lost; the sentence says why."""


@dataclass(frozen=True, slots=True)
class MediaFormat:
    """A format as Asterisk names it and as the conversation knows it."""

    name: str
    audio: AudioFormat
    payload_type: int | None
    """In RTP; None where Asterisk does not send it over RTP."""
    silence: bytes
    """One sample."""

    @property
    def frame_bytes(self) -> int:
        """Of 20 ms."""
        return self.audio.bytes_per_s * FRAME_MS // 1000

    @property
    def frame_samples(self) -> int:
        return self.frame_bytes // self.audio.frame_bytes


FORMATS: Mapping[str, MediaFormat] = {
    each.name: each
    for each in (
        MediaFormat("ulaw", AudioFormat(Encoding.MULAW, 8000), 0, b"\xff"),
        MediaFormat("alaw", AudioFormat(Encoding.ALAW, 8000), 8, b"\xd5"),
        MediaFormat("slin", AudioFormat(Encoding.PCM_S16LE, 8000), None, b"\0\0"),
        MediaFormat("slin16", AudioFormat(Encoding.PCM_S16LE, 16_000), 118, b"\0\0"),
    )
}


class Media(Protocol):
    """Audio of one call. Used by its call alone, in this order: open, connect, run, close."""

    @property
    def format(self) -> MediaFormat: ...

    async def open(self) -> Mapping[str, str]:
        """Prepare our side.

        Returns:
            what POST /channels/externalMedia is to be told besides the ids.
        """
        ...

    async def connect(self, variables: Mapping[str, str]) -> None:
        """Asterisk made the channel, with these variables: connect to it.

        Raises:
            MediaError: not reachable in time.
        """
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """The names of those variables."""
        ...

    async def run(self) -> None:
        """Carry audio both ways until cancelled.

        Raises:
            MediaError: Asterisk has closed it.
        """
        ...

    async def send_audio(self, data: bytes) -> None: ...

    async def mark(self, name: str) -> None: ...

    async def pause(self) -> None: ...

    async def resume(self) -> None: ...

    async def flush(self) -> None: ...

    async def close(self) -> None:
        """Release everything; more than once does no harm."""
        ...


def variable(channel: Channel, name: str) -> str:
    """A variable that came with the channel, "" when ari.conf does not list it."""
    return str(channel.channelvars.get(name, "") or "")
