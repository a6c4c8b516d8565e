"""From an upload to a cloned voice: decode, judge, trim, have the engine compute it, store it."""

import asyncio
import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO

import structlog

from services.shared.media.decode import AudioTooLong, UnreadableAudio, decode_audio
from services.shared.media.encode import FileFormat, StreamEncoder
from services.shared.models.store import ModelStore
from services.shared.protocol.base import ErrorCode, ProtocolError
from services.shared.vad.base import VadModel
from services.tts.cloning.records import ClonedVoice, Consent, new_id, now
from services.tts.cloning.reference import (
    REFERENCE_RATE,
    Reference,
    ReferenceLimits,
    take_reference,
)
from services.tts.cloning.shelf import VoiceShelf
from services.tts.config import ReferenceConfig
from services.tts.engines.base import EngineError
from services.tts.engines.checks import same_language
from services.tts.speakers import Speaker

log = structlog.get_logger(__name__)

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client wants of a new voice."""

    name: str
    language: str
    consent: str
    engine: str | None = None
    """None: the first one that clones and speaks the language."""


class VoiceMaker:
    """Owns the detector that finds the speech in recordings, in a thread of its own."""

    def __init__(
        self,
        config: ReferenceConfig,
        models: ModelStore,
        shelf: VoiceShelf,
        speakers: Mapping[str, Speaker],
    ) -> None:
        self._config = config
        self._shelf = shelf
        self._speakers = speakers
        self._limits = ReferenceLimits(config.min_speech_s, config.max_speech_s, config.min_snr_db)
        able = any(speaker.cloning for speaker in speakers.values())
        self._vad = _new_vad(config, models) if able else None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reference")

    def load(self) -> None:
        """Blocks."""
        if self._vad is not None:
            self._vad.load()

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def choose(self, wish: Wish) -> Speaker:
        """The engine for a new voice.

        Raises:
            ProtocolError: `cloning_unsupported` or `unsupported_language`.
        """
        able = {name: self._speakers[name] for name in self._shelf.engines}
        if wish.engine is not None and wish.engine not in able:
            raise no_cloning(f"the engine {wish.engine!r:.80} cannot clone voices", tuple(able))
        if not able:
            raise no_cloning("no engine of this service can clone voices", ())
        for name, speaker in able.items():
            spoken = speaker.engine.capabilities.languages
            if wish.engine in (None, name) and any(
                same_language(wish.language, each) for each in spoken
            ):
                return speaker
        languages = {
            each for name in able for each in able[name].engine.capabilities.languages
            if wish.engine in (None, name)
        }  # fmt: skip
        raise ProtocolError(
            ErrorCode.UNSUPPORTED_LANGUAGE,
            f"no cloned voice can speak {wish.language}; there are {', '.join(sorted(languages))}",
        )

    async def make(
        self, file: IO[bytes], wish: Wish, owner: str, *, key_id: str | None = None
    ) -> ClonedVoice:
        """Make and store a voice.

        Args:
            key_id: of the key with which it was asked for; None: the owner stands for it.

        Raises:
            ProtocolError: the recording or the wish is not as it should be.
            EngineError: the engine failed, or the store.
        """
        speaker = self.choose(wish)
        loop = asyncio.get_running_loop()
        reference, flac, digest = await loop.run_in_executor(self._thread, self._read, file)
        try:
            tensors = await speaker.condition(
                reference.samples, REFERENCE_RATE, limit_s=self._config.condition_s
            )
        except EngineError as error:
            raise ProtocolError(error.code, error.message) from error
        made = now()
        record = ClonedVoice(
            id=new_id(),
            name=wish.name,
            language=wish.language,
            engine=speaker.engine.name,
            owner=owner,
            created_at=made,
            speech_s=reference.speech_s,
            snr_db=reference.snr_db,
            consent=Consent(
                statement=wish.consent,
                at=made,
                key_id=key_id or owner,
                reference_sha256=digest,
            ),
        )
        await self._shelf.add(record, flac, tensors)
        log.info("a voice was cloned", voice=record.id, engine=record.engine, owner=owner)
        return record

    def _read(self, file: IO[bytes]) -> tuple[Reference, bytes, str]:
        """The speech of an upload, the same as FLAC, and the upload's SHA-256. Blocks."""
        assert self._vad is not None
        try:
            samples = decode_audio(
                file, sample_rate=REFERENCE_RATE, max_duration_s=self._config.max_file_s
            )
        except UnreadableAudio as error:
            raise ProtocolError(ErrorCode.UNREADABLE_AUDIO, f'field "file": {error}') from None
        except AudioTooLong as error:
            raise ProtocolError(ErrorCode.AUDIO_TOO_LONG, f'field "file": {error}') from None
        reference = take_reference(samples, self._vad, self._limits)
        encoder = StreamEncoder(FileFormat.FLAC, REFERENCE_RATE)
        flac = encoder.push(reference.samples) + encoder.finish()
        return reference, flac, _digest(file)


def no_cloning(why: str, able: tuple[str, ...]) -> ProtocolError:
    """The refusal where a voice cannot be made; it says what could make one."""
    known = ", ".join(able) if able else "none that runs here; enable one that can, e.g. chatterbox"
    return ProtocolError(ErrorCode.CLONING_UNSUPPORTED, f"{why}; engines that clone: {known}")


def _new_vad(config: ReferenceConfig, models: ModelStore) -> VadModel:
    """Nothing is loaded yet. Raises ModelError: its model is missing."""
    if config.vad == "energy":
        from services.shared.vad.energy import EnergyVad

        return EnergyVad()
    from services.shared.vad.silero import SileroVad

    return SileroVad(models.require(config.vad_model) / "silero_vad.onnx")


def _digest(file: IO[bytes]) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(_CHUNK):
        digest.update(block)
    return digest.hexdigest()
