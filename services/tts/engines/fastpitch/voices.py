"""What both FastPitch engines do alike: voices by id, requests checked, errors told."""

from collections.abc import Generator, Iterable
from dataclasses import dataclass

from services.tts.engines.base import (
    AudioPiece,
    Capabilities,
    EngineUnavailable,
    SynthesisRequest,
    Voice,
)
from services.tts.engines.chatterbox.failures import engine_error
from services.tts.engines.checks import check_request, is_speakable
from services.tts.engines.fastpitch.speech import Speaker

WARM_UP = ("Yes.", "This sentence makes the buffers as large as they often are, and then some.")


@dataclass(frozen=True, slots=True)
class SpeakingVoice:
    """A voice and what speaks in it."""

    voice: Voice
    speaker: Speaker


def capabilities(languages: Iterable[str], max_characters: int, lanes: int) -> Capabilities:
    return Capabilities(
        streaming=True,
        word_timestamps=True,
        cloning=False,
        languages=tuple(dict.fromkeys(languages)),
        max_characters=max_characters,
        lanes=lanes,
    )


def speak(
    voices: dict[str, SpeakingVoice], limits: Capabilities, request: SynthesisRequest
) -> Generator[AudioPiece, None, None]:
    """What an engine's `synthesize` gives."""
    voice = check_request(request, (one.voice for one in voices.values()), limits)
    if is_speakable(request.text):
        try:
            yield from voices[voice.id].speaker.speak(request)
        except (RuntimeError, ValueError) as error:  # torch's and onnxruntime's are RuntimeErrors
            raise engine_error(error) from error


def check_speaker(number: int, speakers: int, name: str) -> None:
    """Raises EngineUnavailable when a model has no speaker of this number."""
    if number >= max(1, speakers):
        raise EngineUnavailable(f"{name} has {max(1, speakers)} speakers; number {number} is none")
