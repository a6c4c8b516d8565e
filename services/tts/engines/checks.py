"""What every engine checks of a request, with the sentences that clients read."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import replace

from services.shared.protocol.base import ErrorCode
from services.tts.engines.base import Capabilities, EngineError, SynthesisRequest, Voice

MIN_SPEED = 0.25
MAX_SPEED = 4.0
WRITTEN_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\s\u3040-\u30ff\u3400-\u9fff]+")
"""White space divides words; Chinese and Japanese characters stand for themselves."""


def is_speakable(text: str) -> bool:
    """Whether there is a letter or a digit in it; punctuation and symbols alone are silence."""
    return any(unicodedata.category(char)[0] in "LN" for char in text)


def check_request(
    request: SynthesisRequest, voices: Iterable[Voice], capabilities: Capabilities
) -> Voice:
    """The voice that the request names, when the engine can serve it.

    Raises:
        EngineError: unknown voice, another language, text too long, speed out of range.
    """
    known = {voice.id: voice for voice in voices}
    voice = known.get(request.voice)
    if request.conditioning is not None:
        voice = _cloned(request, next(iter(known.values())), capabilities)
    if voice is None:
        raise EngineError(
            f"voice {request.voice!r} is unknown; known are {', '.join(sorted(known))}",
            code=ErrorCode.UNKNOWN_VOICE,
        )
    if request.language and not same_language(request.language, voice.language):
        raise EngineError(
            f"voice {voice.id} speaks {voice.language}, not {request.language}",
            code=ErrorCode.UNSUPPORTED_LANGUAGE,
        )
    if len(request.text) > capabilities.max_characters:
        raise EngineError(
            f"a text of {len(request.text)} characters is over the engine's limit of "
            f"{capabilities.max_characters}",
            code=ErrorCode.TEXT_TOO_LONG,
        )
    if not MIN_SPEED <= request.speed <= MAX_SPEED:
        raise EngineError(
            f"speed {request.speed} is not within {MIN_SPEED} and {MAX_SPEED}",
            code=ErrorCode.INVALID_MESSAGE,
        )
    return voice


def _cloned(request: SynthesisRequest, first: Voice, capabilities: Capabilities) -> Voice:
    """A cloned voice: all that is known of it came with the request."""
    language = request.language or first.language
    if not any(same_language(language, spoken) for spoken in capabilities.languages):
        raise EngineError(
            f"the engine {first.engine} does not speak {language}; it speaks "
            f"{', '.join(capabilities.languages)}",
            code=ErrorCode.UNSUPPORTED_LANGUAGE,
        )
    return replace(first, id=request.voice, language=language, cloned=True)


def same_language(wanted: str, spoken: str) -> bool:
    """Whether a voice for `spoken` will do for `wanted`: equal, or one leaves the region open."""
    wanted_parts = wanted.lower().replace("_", "-").split("-")
    spoken_parts = spoken.lower().replace("_", "-").split("-")
    if wanted_parts[0] != spoken_parts[0]:
        return False
    return len(wanted_parts) == 1 or len(spoken_parts) == 1 or wanted_parts == spoken_parts
