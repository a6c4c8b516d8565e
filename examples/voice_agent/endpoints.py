"""Where a conversation finds the two services."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SpeechServices:
    """Addresses, as `ws://host:port`, and keys."""

    asr_url: str
    tts_url: str
    asr_key: str | None = None
    tts_key: str | None = None
