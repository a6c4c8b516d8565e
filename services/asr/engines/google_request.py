"""What is asked of Google Cloud Speech, in the messages of its client library."""

from typing import TYPE_CHECKING, Any

from services.asr.engines.base import EngineError
from services.asr.engines.streaming import StreamOptions

if TYPE_CHECKING:
    from services.asr.config import GoogleConfig

_PHRASES = 200
_PHRASE_CHARS = 100
"""Google's limit for one phrase."""


def import_client() -> Any:
    try:
        from google.cloud import speech_v2
    except ImportError as error:
        raise EngineError(
            "google-cloud-speech is not available. Install it with: uv sync --group google",
            lasting=True,
        ) from error
    return speech_v2


def streaming_config(config: "GoogleConfig", options: StreamOptions) -> Any:
    speech = import_client()
    return speech.StreamingRecognitionConfig(
        config=recognition_config(config, options),
        streaming_features=speech.StreamingRecognitionFeatures(interim_results=True),
    )


def recognition_config(config: "GoogleConfig", options: StreamOptions) -> Any:
    speech = import_client()
    codes = [code for code in config.language_codes if base_language(code) == options.language]
    return speech.RecognitionConfig(
        explicit_decoding_config=speech.ExplicitDecodingConfig(
            encoding=speech.ExplicitDecodingConfig.AudioEncoding.LINEAR16,
            sample_rate_hertz=16_000,
            audio_channel_count=1,
        ),
        model=config.model,
        language_codes=codes[:1] or list(config.language_codes),
        features=speech.RecognitionFeatures(
            enable_automatic_punctuation=True,
            # Also unasked: they tell between which words a long stream may be cut.
            enable_word_time_offsets=config.word_times,
            enable_word_confidence=config.word_times and options.word_timestamps,
        ),
        adaptation=_adaptation(config, options),
    )


def _adaptation(config: "GoogleConfig", options: StreamOptions) -> Any:
    speech = import_client()
    phrases = phrases_of(options)
    if not phrases:
        return None
    boost = config.phrase_boost
    phrase_set = speech.PhraseSet(
        phrases=[speech.PhraseSet.Phrase(value=value, boost=boost) for value in phrases]
    )
    inline = speech.SpeechAdaptation.AdaptationPhraseSet(inline_phrase_set=phrase_set)
    return speech.SpeechAdaptation(phrase_sets=[inline])


def phrases_of(options: StreamOptions) -> list[str]:
    """Hotwords, and the prompt's clauses, as phrases that Google takes."""
    clauses = options.prompt.replace(";", ",").replace(".", ",").replace("\n", ",").split(",")
    phrases = [*options.hotwords, *clauses]
    short = (" ".join(phrase.split())[:_PHRASE_CHARS].strip() for phrase in phrases)
    return list(dict.fromkeys(phrase for phrase in short if phrase))[:_PHRASES]


def base_language(code: str) -> str:
    """`en` of `en-US`."""
    return code.split("-")[0].lower()
