"""Recordings to clone voices from: a buzz with a pitch and pauses, which every detector of energy
takes for speech."""

import numpy as np

from services.shared.audio.pcm import Floats
from services.shared.media.encode import FileFormat, StreamEncoder
from services.shared.media.wav import wav_bytes
from services.tts.cloning.records import ClonedVoice, Consent, new_id, now
from services.tts.cloning.reference import REFERENCE_RATE

STATEMENT = "Ada Lovelace agreed by e-mail on 2026-11-01"


def buzz(hertz: float, seconds: float, *, rate: int = REFERENCE_RATE, level: float = 0.5) -> Floats:
    """Words of 430 ms of a voice-like buzz, whose loudness varies as speech's does, and 170 ms of
    near silence between them."""
    at = np.arange(int(seconds * rate)) / rate
    voice = sum(np.sin(2 * np.pi * hertz * n * at + n * n) / n for n in range(1, 9))
    word = np.clip(np.sin(2 * np.pi * at / 0.6) + 0.8, 0, None) / 1.8
    loudness = 0.6 + 0.4 * np.sin(2 * np.pi * at * 0.31)
    noise = np.random.default_rng(1).normal(0, 3e-4, len(at))
    return (level * 0.4 * voice * word * loudness + noise).astype(np.float32)


def silence(seconds: float, rate: int = REFERENCE_RATE) -> Floats:
    return np.zeros(int(seconds * rate), dtype=np.float32)


def wav(samples: Floats, rate: int = REFERENCE_RATE) -> bytes:
    return wav_bytes(samples, rate)


def flac(samples: Floats) -> bytes:
    encoder = StreamEncoder(FileFormat.FLAC, REFERENCE_RATE)
    return encoder.push(samples) + encoder.finish()


def record(*, owner: str = "public", name: str = "Ada", engine: str = "fake") -> ClonedVoice:
    made = now()
    consent = Consent(statement=STATEMENT, at=made, key_id=owner, reference_sha256="0" * 64)
    return ClonedVoice(
        id=new_id(),
        name=name,
        language="en-US",
        engine=engine,
        owner=owner,
        created_at=made,
        speech_s=5.0,
        snr_db=40.0,
        consent=consent,
    )
