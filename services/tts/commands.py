"""What a TTS session asks its caller to do. To be carried out in order."""

from dataclasses import dataclass, field

from services.shared.audio.pcm import Encoding
from services.shared.protocol.base import CloseCode, Message
from services.tts.engines.base import Floats, SynthesisRequest
from services.tts.messages import CacheUse


@dataclass(frozen=True, slots=True)
class Send:
    """Send this message to the client."""

    message: Message


@dataclass(frozen=True, slots=True)
class Synthesize:
    """Speak; report with `on_audio`, then `on_done` or `on_failed`."""

    job_id: int
    context_id: str
    request: SynthesisRequest
    cache: CacheUse = CacheUse.DEFAULT


@dataclass(frozen=True, slots=True)
class CancelJob:
    """Nothing that this job gives is wanted any more."""

    job_id: int


@dataclass(frozen=True, slots=True)
class OpenAudio:
    """Make a converter for this context's audio; its `audio_started` follows."""

    context_id: str
    source_rate: int
    """Hz of the samples that will come."""
    encoding: Encoding
    sample_rate: int
    """Hz that the client wants."""
    paced: bool = False
    """Send it in messages of 20 ms."""


@dataclass(frozen=True, slots=True)
class SendAudio:
    """Convert these samples and send them."""

    context_id: str
    samples: Floats = field(repr=False)
    """[n] at the source rate."""
    asked_at: float = 0.0
    """When the segment that they belong to was asked for."""


@dataclass(frozen=True, slots=True)
class DrainAudio:
    """Send what the converter still holds back; more audio may follow."""

    context_id: str


@dataclass(frozen=True, slots=True)
class CloseAudio:
    """Drop the converter with all that it holds."""

    context_id: str


@dataclass(frozen=True, slots=True)
class Close:
    """All is said: close the connection."""

    code: CloseCode = CloseCode.NORMAL


Command = Send | Synthesize | CancelJob | OpenAudio | SendAudio | DrainAudio | CloseAudio | Close
