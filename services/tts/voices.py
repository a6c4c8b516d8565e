"""Which voices there are, which one a client gets, and what it hears when there is none."""

import copy
from collections.abc import Callable, Iterable, Mapping

from services.shared.protocol.base import ErrorCode, ProtocolError
from services.tts.engines.base import Voice
from services.tts.engines.checks import same_language

_SAMPLES = {
    "de": "Guten Tag, so klinge ich. Wie kann ich Ihnen heute helfen?",
    "en": "Hello, this is how I sound. How may I help you today?",
    "es": "Hola, así suena mi voz. ¿En qué puedo ayudarle hoy?",
    "fr": "Bonjour, voici ma voix. Comment puis-je vous aider aujourd'hui ?",
    "hi": "नमस्ते, मेरी आवाज़ ऐसी है। आज मैं आपकी क्या मदद कर सकती हूँ?",
    "it": "Buongiorno, questa è la mia voce. Come posso aiutarla oggi?",
    "ja": "こんにちは、わたしのこえです。きょうはどうしましたか。",
    "pt": "Olá, esta é a minha voz. Como posso ajudar hoje?",
    "vi": "Xin chào, đây là giọng nói của tôi. Hôm nay tôi có thể giúp gì cho bạn?",
}


_TOLD = 60
"""Most voices that an error message lists."""


def sample_text(language: str) -> str:
    """What a voice says to let itself be heard; in a language without a text of its own a number.

    Args:
        language: BCP 47 tag.
    """
    return _SAMPLES.get(language.lower().replace("_", "-").split("-")[0], "1, 2, 3, 4, 5.")


class VoiceCatalogue:
    """The voices of all engines.

    Args:
        voices: at least one; an id may occur only once.
        default: id of the voice for those who ask for nothing; else the first.
        language_defaults: language tag → id of its preferred voice.
        aliases: other names for voices, e.g. those of another vendor's API.

    Raises:
        ValueError: no voice, an id twice, or a default that does not exist.
    """

    def __init__(
        self,
        voices: Iterable[Voice],
        *,
        default: str | None = None,
        language_defaults: Mapping[str, str] | None = None,
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self._built_in = tuple(voices)
        self._by_id = {voice.id: voice for voice in self._built_in}
        if not self._built_in or len(self._by_id) != len(self._built_in):
            raise ValueError("a catalogue needs at least one voice, and each id once")
        self._own: Callable[[], Mapping[str, Voice]] = dict
        self._language_defaults = dict(language_defaults or {})
        self._aliases = dict(aliases or {})
        default = default or self._built_in[0].id
        for name in (default, *self._language_defaults.values(), *self._aliases.values()):
            if name not in self._by_id:
                raise ValueError(f"voice {name!r} is configured but not there; {self._choice()}")
        self.default = self._by_id[default]

    def with_own(self, own: Callable[[], Mapping[str, Voice]]) -> "VoiceCatalogue":
        """The catalogue of somebody who has voices of their own, by id, which may come and go."""
        theirs = copy.copy(self)
        theirs._own = own
        return theirs

    @property
    def voices(self) -> tuple[Voice, ...]:
        """All, those of one's own last."""
        return (*self._built_in, *self._own().values())

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(voice.id for voice in self.voices)

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(voice.language for voice in self.voices))

    def choose(self, voice_id: str | None = None, language: str | None = None) -> Voice:
        """The voice for a request; both may be left open.

        Raises:
            ProtocolError: `unknown_voice`, or `unsupported_language` when no voice, or not this
                voice, speaks it.
        """
        if voice_id is None:
            return self.default if language is None else self._for_language(language)
        voice = self._by_id.get(self._aliases.get(voice_id, voice_id)) or self._own().get(voice_id)
        if voice is None:
            raise ProtocolError(
                ErrorCode.UNKNOWN_VOICE, f"voice {voice_id!r:.80} is unknown; {self._choice()}"
            )
        if language is not None and not same_language(language, voice.language):
            raise ProtocolError(
                ErrorCode.UNSUPPORTED_LANGUAGE,
                f"voice {voice.id} speaks {voice.language}, not {language}; {self._choice()}",
            )
        return voice

    def _for_language(self, language: str) -> Voice:
        preferred = [
            self._by_id[voice_id]
            for tag, voice_id in self._language_defaults.items()
            if same_language(language, tag)
        ]
        for voice in (*preferred, self.default, *self._built_in):
            if same_language(language, voice.language):
                return voice
        raise ProtocolError(
            ErrorCode.UNSUPPORTED_LANGUAGE,
            f"no voice speaks {language}; there are voices for {', '.join(self.languages)}",
        )

    def _choice(self) -> str:
        ids = self.ids
        more = f" and {len(ids) - _TOLD} more" if len(ids) > _TOLD else ""
        return f"there are {', '.join(ids[:_TOLD])}{more}"
