"""What engines computed for cloned voices: in memory, from the store, or anew."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Mapping

import structlog

from services.shared.media.decode import decode_audio
from services.tts.cloning.blobs import BlobError
from services.tts.cloning.records import ClonedVoice
from services.tts.cloning.reference import REFERENCE_RATE
from services.tts.cloning.store import Tensors, VoiceGone, VoiceStore
from services.tts.cloning.threads import Threads
from services.tts.engines.base import Conditioning, EngineError
from services.tts.speakers import Speaker

log = structlog.get_logger(__name__)

_MAX_REFERENCE_S = 1200.0


def conditioning_id(voice: ClonedVoice) -> str:
    """Equal ids are equal tensors, for one version of the engine."""
    return f"{voice.id}-{voice.consent.reference_sha256[:16]}"


def voice_version(voice: ClonedVoice, speaker: Speaker) -> str:
    """Changes with the reference and with the engine's weights."""
    made_by = speaker.cloning.conditioning_version if speaker.cloning else ""
    text = f"{conditioning_id(voice)}\n{made_by}\n{speaker.engine.voices()[0].version}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Conditionings:
    """Gives cloned voices their tensors; those used least recently leave memory first.

    Args:
        speakers: by engine.
        condition_s: longest wait for an engine to compute one anew.
    """

    def __init__(
        self,
        store: VoiceStore,
        threads: Threads,
        speakers: Mapping[str, Speaker],
        max_bytes: int,
        condition_s: float,
    ) -> None:
        self._store = store
        self._threads = threads
        self._speakers = speakers
        self._max_bytes = max_bytes
        self._condition_s = condition_s
        self._kept: OrderedDict[str, Conditioning] = OrderedDict()
        self._loading: dict[str, asyncio.Task[Conditioning]] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    async def get(self, voice: ClonedVoice, limit_s: float) -> Conditioning:
        """The voice's tensors; who asks at the same time waits for the same.

        What takes longer than `limit_s` goes on, so that the next one who asks may have it.

        Raises:
            EngineError: too late, the store failed, or the voice is gone.
        """
        if (kept := self._kept.get(voice.id)) is not None:
            self._kept.move_to_end(voice.id)
            return kept
        if (loading := self._loading.get(voice.id)) is None:
            loading = self._loading[voice.id] = asyncio.create_task(self._load(voice))
            loading.add_done_callback(lambda done: self._loaded(voice.id, done))
        try:
            async with asyncio.timeout(limit_s):
                return await asyncio.shield(loading)
        except TimeoutError:
            raise EngineError(f"voice {voice.id} was not loaded within {limit_s:g} s") from None

    def keep(self, voice: ClonedVoice, tensors: Tensors) -> Conditioning:
        """Remember what was just made or read."""
        made = Conditioning(conditioning_id(voice), self._version(voice), tensors)
        self.forget(voice.id)
        self._kept[voice.id] = made
        self.bytes += _size(made)
        while self.bytes > self._max_bytes and len(self._kept) > 1:
            self.bytes -= _size(self._kept.popitem(last=False)[1])
        return made

    def forget(self, voice_id: str) -> None:
        """The voice is gone."""
        if (kept := self._kept.pop(voice_id, None)) is not None:
            self.bytes -= _size(kept)

    async def close(self) -> None:
        """Give up what is being loaded."""
        for task in list(self._loading.values()):
            task.cancel()
        await asyncio.gather(*self._loading.values(), return_exceptions=True)

    def _loaded(self, voice_id: str, done: "asyncio.Task[Conditioning]") -> None:
        del self._loading[voice_id]
        if not done.cancelled() and (error := done.exception()) is not None:
            log.warning("a cloned voice could not be loaded", voice=voice_id, reason=str(error))

    async def _load(self, voice: ClonedVoice) -> Conditioning:
        version = self._version(voice)
        try:
            tensors = await self._threads.run(self._store.conditioning, voice, version)
            if tensors is None:
                tensors = await self._compute(voice)
                await self._threads.run(self._store.add_conditioning, voice, version, tensors)
        except VoiceGone:
            raise EngineError(f"voice {voice.id} was deleted") from None
        except BlobError as error:
            log.error("the voice store failed", reason=str(error))
            raise EngineError("the voice store cannot be reached") from error
        return self.keep(voice, tensors)

    async def _compute(self, voice: ClonedVoice) -> Tensors:
        """Made by other weights than these: again, from the reference. Somebody waits for it."""
        data = await self._threads.run(self._store.reference, voice.id)
        reference = await self._threads.run(
            decode_audio, data, sample_rate=REFERENCE_RATE, max_duration_s=_MAX_REFERENCE_S
        )
        log.info("a cloned voice is computed anew", voice=voice.id, engine=voice.engine)
        return await self._speakers[voice.engine].condition(
            reference, REFERENCE_RATE, limit_s=self._condition_s, urgent=True
        )

    def _version(self, voice: ClonedVoice) -> str:
        engine = self._speakers[voice.engine].cloning
        return engine.conditioning_version if engine else ""


def _size(made: Conditioning) -> int:
    return sum(tensor.nbytes for tensor in made.tensors.values())
