"""The TTS service's parts put together: the engines, the schedulers that own them, the voices."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import ParamSpec, TypeVar

import structlog
from prometheus_client import CollectorRegistry

from services.shared.models.store import ModelStore
from services.shared.protocol.base import ErrorCode, ProtocolError
from services.shared.runtime.config import ConfigError
from services.tts.admission import Admission
from services.tts.cache import PhraseCache
from services.tts.cloning.cloning import Cloning
from services.tts.cloning.records import is_cloned_id
from services.tts.cloning.shelf import gone_error
from services.tts.cloning.store import VoiceGone
from services.tts.config import TtsConfig
from services.tts.engines.base import EngineError, SynthesisRequest, Voice
from services.tts.engines.registry import Isolation, create_engines
from services.tts.lexicon import Lexicon, LexiconError
from services.tts.lexicon_store import LexiconStore
from services.tts.messages import CacheUse, Start
from services.tts.metrics import TtsMetrics
from services.tts.segmentation import Segmenter
from services.tts.session import SessionOptions
from services.tts.speakers import Speaker
from services.tts.speech import Speech, SpeechDesk
from services.tts.voices import VoiceCatalogue
from services.tts.wording import Reader

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_CONVERTERS = 2
"""Threads that resample and encode; light work that must not be done on the event loop."""


class TtsService:
    """Owns the engines; sessions and requests share them."""

    def __init__(self, config: TtsConfig, store: ModelStore, registry: CollectorRegistry) -> None:
        self.config = config
        self.metrics = TtsMetrics(registry)
        self.speakers = tuple(
            Speaker(engine, self.metrics, config.engine_timeout_s)
            for engine in create_engines(config.engines, store, self._isolation())
        )
        admission = config.admission
        self._admission = Admission(
            admission.max_first_audio_ms / 1000 if admission.enabled else None,
            admission.max_context_first_audio_ms / 1000 if admission.enabled else None,
        )
        self.lexicon = LexiconStore(config.lexicon.file, config.lexicon.max_entries)
        self._cache = self._new_cache()
        self._desk = SpeechDesk(self._cache, self.metrics)
        self._voices: VoiceCatalogue | None = None
        self._by_engine = {speaker.engine.name: speaker for speaker in self.speakers}
        for name in self._by_engine:
            self.metrics.engine_restarts.labels(name)  # 0 from the start
        self._cloning = Cloning.create(config.voices, store, self._by_engine, self._desk.forget)
        self._converters = ThreadPoolExecutor(_CONVERTERS, thread_name_prefix="audio")

    def _isolation(self) -> Isolation:
        restarts = self.metrics.engine_restarts
        return Isolation(
            self.config.isolation, self.config.log, lambda name: restarts.labels(name).inc()
        )

    def _new_cache(self) -> PhraseCache | None:
        wanted = self.config.cache
        if not wanted.enabled:
            return None
        return PhraseCache(
            wanted.memory_mb << 20, wanted.folder, wanted.disk_mb << 20, self.metrics
        )

    @property
    def voices(self) -> VoiceCatalogue:
        if self._voices is None:
            raise ProtocolError(ErrorCode.OVERLOADED, "the service is still loading its models")
        return self._voices

    @property
    def cloning(self) -> Cloning:
        """Raises ProtocolError `cloning_unsupported`."""
        if self._cloning is None:
            raise ProtocolError(
                ErrorCode.CLONING_UNSUPPORTED,
                "this service has no voice store, so it can neither clone voices nor have any; "
                "the operator can set voices.store",
            )
        return self._cloning

    def voices_for(self, owner: str) -> VoiceCatalogue:
        """The voices that somebody may use: everybody's and their own."""
        cloning = self._cloning
        if cloning is None:
            return self.voices
        return self.voices.with_own(lambda: cloning.shelf.of_owner(owner))

    def voice_of(self, voice_id: str) -> Voice:
        """The voice that a request names; whose it is was checked when it was chosen.

        Raises:
            EngineError: `unknown_voice`: it was deleted since.
        """
        if self._cloning is not None and is_cloned_id(voice_id):
            voice = self._cloning.shelf.voice(voice_id)
            if voice is None:
                raise gone_error(voice_id)
            return voice
        return self.voices.choose(voice_id)

    async def prepare(self, voice_id: str | None, owner: str) -> None:
        """Before a voice is chosen: have it at hand, if it is a cloned one that is there.

        Raises:
            EngineError: it could not be brought in time.
        """
        if self._cloning is not None and voice_id is not None and is_cloned_id(voice_id):
            with contextlib.suppress(VoiceGone):  # choosing it says so
                await self._cloning.shelf.prepare(voice_id, owner)

    def speaker_of(self, voice_id: str) -> Speaker:
        """The engine that has this voice. Raises as `voice_of`."""
        return self._by_engine[self.voice_of(voice_id).engine]

    def session_options(self) -> SessionOptions:
        return self.config.session_options(*(each.engine.capabilities for each in self.speakers))

    def takes_phonemes(self, voice: Voice) -> bool:
        return self._by_engine[voice.engine].engine.capabilities.phonemes

    def reader(
        self, voice: Voice, *, normalise: bool = True, lexicon: Mapping[str, str] | None = None
    ) -> Reader:
        """Who decides how a client's text is said, with the operator's lexicon as it is now.

        Args:
            lexicon: the client's own entries, which go first.

        Raises:
            ProtocolError: it has phonemes, and the voice takes none.
        """
        own = Lexicon(lexicon or {})
        phonemes = self.takes_phonemes(voice)
        if own.has_phonemes and not phonemes:
            raise ProtocolError(
                ErrorCode.INVALID_MESSAGE,
                f'field "lexicon": voice {voice.id} takes no phonemes; give a respelling',
            )
        return Reader(
            voice.language,
            normalise=normalise and self.config.text.normalise,
            lexicons=(own, *self.lexicon.for_language(voice.language)),
            phonemes=phonemes,
        )

    def reader_of(self, start: Start, voice: Voice) -> Reader:
        """The reader that a context asks for. Raises as `reader`."""
        return self.reader(voice, normalise=start.normalise, lexicon=start.lexicon)

    def plan(
        self,
        text: str,
        voice: Voice,
        reader: Reader,
        *,
        language: str | None = None,
        speed: float = 1.0,
    ) -> list[SynthesisRequest]:
        """What engines are asked for when all of a text is there. Blocks: 40 ms for a long one."""
        options = self.session_options()
        segmenter = Segmenter(max_characters=options.segment_characters)
        return [
            SynthesisRequest(
                wording.text, voice.id, language=language, speed=speed, words=wording.words
            )
            for segment in (*segmenter.push(text), *segmenter.flush())
            for _, wording in reader.read_segment(segment, options.spoken_characters)
            if wording.speakable
        ]

    async def speak(
        self, request: SynthesisRequest, use: CacheUse = CacheUse.DEFAULT, *, lasting: bool = False
    ) -> Speech:
        """Begin to speak one segment; to be closed by the caller, however it ends.

        Raises:
            EngineError: the voice is gone, or cannot be loaded in time.
        """
        voice = self.voice_of(request.voice)
        if voice.cloned:
            conditioning = await self.cloning.shelf.conditioning(voice.id)
            request = replace(request, language=voice.language, conditioning=conditioning)
        speaker = self._by_engine[voice.engine]
        return await self._desk.open(speaker, voice, request, use, lasting=lasting)

    # Who may speak.

    def check_session(self) -> None:
        """Is there room for one more? Raises ProtocolError `overloaded`."""
        self._admission.check([each.load for each in self.speakers], time.monotonic())

    def check_context(self, session_id: str, voice: Voice) -> None:
        """May a silent session begin to speak? Raises ProtocolError `overloaded`.

        It is counted as about to, for a moment or until `forget`.
        """
        load = self._by_engine[voice.engine].load
        self._admission.check_context(load, session_id, time.monotonic())

    def forget(self, session_id: str) -> None:
        """The session that was about to speak does, or will not."""
        for speaker in self.speakers:
            speaker.load.forget(session_id)

    def check_requests(self, requests: list[SynthesisRequest], use: CacheUse) -> None:
        """Is there room for these, unless they are in the cache?

        Raises:
            ProtocolError: `overloaded`.
            EngineError: as `voice_of`.
        """
        needed = [
            each
            for each in requests
            if use is not CacheUse.DEFAULT or not self._desk.holds(each, self.voice_of(each.voice))
        ]
        if needed:
            load = self.speaker_of(needed[0].voice).load
            self._admission.check([load], time.monotonic())

    async def convert(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run audio work off the event loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._converters, lambda: work(*args, **kwargs))

    async def load(self) -> None:
        """Load and warm every engine, off the event loop; ready afterwards."""
        try:
            await self.lexicon.open()
        except LexiconError as error:
            raise ConfigError(str(error)) from error
        await asyncio.to_thread(self._load)
        for speaker in self.speakers:
            speaker.start()
        if self._cache is not None:
            try:
                await self._cache.open()
            except OSError as error:
                raise ConfigError(f"cache.folder cannot be used: {error}") from error
        if self._cloning is not None:
            try:
                await self._cloning.open()
            except EngineError as error:
                raise ConfigError(f"voices.store cannot be used: {error.message}") from error
        if self._cache is not None:
            await self._prewarm()

    async def _prewarm(self) -> None:
        """Speak what callers will hear first. Ready means that greetings are instant."""
        begun = time.monotonic()
        for phrase in self.config.cache.prewarm:
            voice = self.voices.choose(phrase.voice, phrase.language)
            for request in await self.convert(
                self.plan,
                phrase.text,
                voice,
                self.reader(voice),
                language=phrase.language,
                speed=phrase.speed,
            ):
                try:
                    await self._listen(request)
                except EngineError as error:
                    log.warning("a phrase could not be prewarmed", reason=error.message)
        if self.config.cache.prewarm:
            seconds = round(time.monotonic() - begun, 1)
            log.info("prewarmed", phrases=len(self.config.cache.prewarm), seconds=seconds)

    async def _listen(self, request: SynthesisRequest) -> None:
        speech = await self.speak(request, lasting=True)
        try:
            while await speech.next_piece(time.monotonic()) is not None:
                pass
        finally:
            speech.close()

    def _load(self) -> None:
        voices: list[Voice] = []
        for speaker in self.speakers:
            speaker.engine.load()
            voices += speaker.engine.voices()
        wanted = self.config.voices
        self._voices = VoiceCatalogue(
            voices,
            default=wanted.default,
            language_defaults=wanted.languages,
            aliases=wanted.aliases,
        )
        for speaker in self.speakers:
            speaker.warm_up()

    async def unload(self) -> None:
        await self.lexicon.close()
        if self._cloning is not None:
            await self._cloning.close()
        for speaker in self.speakers:
            if await speaker.scheduler.close():
                await asyncio.to_thread(speaker.engine.close)
            else:
                log.error("engine did not stop", engine=speaker.engine.name)
        if self._cache is not None:
            await self._cache.close()
        self._converters.shutdown(wait=False, cancel_futures=True)
