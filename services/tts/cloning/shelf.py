"""The cloned voices as one instance of the service knows them.

The store is the truth and other instances write to it, too: it is listed every few seconds, and
asked for each voice that somebody is about to use.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import ParamSpec, TypeVar

import structlog

from services.shared.protocol.base import ErrorCode, ProtocolError
from services.tts.cloning.blobs import BlobError, open_blobs
from services.tts.cloning.conditionings import Conditionings, voice_version
from services.tts.cloning.records import ClonedVoice, is_cloned_id
from services.tts.cloning.store import Tensors, VoiceGone, VoiceStore
from services.tts.cloning.threads import THREADS, Threads
from services.tts.config import VoicesConfig
from services.tts.engines.base import Conditioning, EngineError, Voice
from services.tts.speakers import Speaker

P = ParamSpec("P")
R = TypeVar("R")

log = structlog.get_logger(__name__)

_TRUSTED_S = 1.0
"""A voice that was seen in the store so recently is not looked for again."""
_UNREACHABLE = "the voice store cannot be reached; the operator's log says why"
_STORE_S = 30.0
"""Longest wait for the store, retries and all."""


class VoiceShelf:
    """Cloned voices of the engines that run here; an index in memory, nothing else is.

    Args:
        speakers: by engine; only those that clone matter.
        gone: told of each voice that was deleted, here or elsewhere.
    """

    def __init__(
        self, config: VoicesConfig, speakers: Mapping[str, Speaker], gone: Callable[[str], None]
    ) -> None:
        assert config.store is not None
        self._config = config
        self._speakers = speakers
        self._gone = gone
        self._threads = Threads()
        self._store: VoiceStore | None = None
        self._conditionings: Conditionings | None = None
        self._known: dict[str, ClonedVoice] = {}
        self._seen: dict[str, float] = {}
        self._being_made: Counter[str] = Counter()
        """How many voices, by owner."""
        self._refreshing: asyncio.Task[None] | None = None

    @property
    def store(self) -> VoiceStore:
        assert self._store is not None, "the shelf is not open"
        return self._store

    @property
    def conditionings(self) -> Conditionings:
        assert self._conditionings is not None, "the shelf is not open"
        return self._conditionings

    @property
    def engines(self) -> tuple[str, ...]:
        """Those that can clone, the operator's favourite first."""
        return tuple(name for name, speaker in self._speakers.items() if speaker.cloning)

    async def open(self) -> None:
        """Finish what an earlier run left, then read all records. Raises EngineError."""
        assert self._config.store is not None
        self._store = VoiceStore(await self._ask(open_blobs, self._config.store))
        self._conditionings = Conditionings(
            self._store,
            self._threads,
            self._speakers,
            self._config.memory_mb << 20,
            self._config.reference.condition_s,
        )
        await self._ask(self._store.sweep)
        await self.refresh()
        self._refreshing = asyncio.create_task(self._keep_fresh())

    async def close(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._refreshing
        if self._conditionings is not None:
            await self._conditionings.close()
        self._threads.close()

    # Looking voices up.

    def voice(self, voice_id: str) -> Voice | None:
        """As clients see it; None when it is not known, or its engine does not run here."""
        record = self._known.get(voice_id)
        return None if record is None else self._as_voice(record)

    def of_owner(self, owner: str) -> dict[str, Voice]:
        """The owner's voices by id, the oldest first."""
        mine = (record for record in self._known.values() if record.owner == owner)
        ordered = sorted(mine, key=lambda record: (record.created_at, record.id))
        return {each.id: voice for each in ordered if (voice := self._as_voice(each))}

    async def find(self, voice_id: str, owner: str) -> ClonedVoice:
        """The record of an owner's voice, which exists at this moment or did a second ago.

        Raises:
            VoiceGone: there is no such voice, or it is another's.
            EngineError: the store cannot be reached.
        """
        if not is_cloned_id(voice_id):
            raise VoiceGone(voice_id)
        record = await self._current(voice_id)
        if record.owner != owner:
            raise VoiceGone(voice_id)
        return record

    async def prepare(self, voice_id: str, owner: str) -> None:
        """Have an owner's voice at hand before it is spoken in. Raises as `find`."""
        record = await self.find(voice_id, owner)
        if self.voice(voice_id) is not None:
            await self.conditionings.get(record, self._config.load_s)

    async def conditioning(self, voice_id: str) -> Conditioning:
        """What the engine needs to speak in this voice.

        Raises:
            EngineError: the voice was deleted, or it cannot be loaded in time.
        """
        try:
            record = await self._current(voice_id)
            return await self.conditionings.get(record, self._config.load_s)
        except VoiceGone:
            raise gone_error(voice_id) from None

    # Changing them.

    async def add(self, record: ClonedVoice, reference: bytes, tensors: Tensors) -> None:
        """Store a voice that was just made. Raises EngineError."""
        version = self._speakers[record.engine].cloning
        assert version is not None
        await self._ask(self.store.create, record, reference, version.conditioning_version, tensors)
        self._note(record)
        self.conditionings.keep(record, tensors)

    async def rename(self, voice_id: str, owner: str, name: str) -> ClonedVoice:
        """Raises as `find`."""
        await self.find(voice_id, owner)
        record = await self._unless_gone(voice_id, self.store.rename, voice_id, name)
        self._note(record)
        return record

    async def delete(self, voice_id: str, owner: str) -> None:
        """Raises as `find`."""
        await self.find(voice_id, owner)
        deletion = await self._unless_gone(voice_id, self.store.delete, voice_id)
        log.info("a cloned voice was deleted", voice=deletion.id, owner=owner)
        self._drop(voice_id)

    @contextlib.contextmanager
    def room(self, owner: str, limit: int | None) -> Iterator[None]:
        """Keep a place for a voice that is being made, so that no other one gets it meanwhile.

        Args:
            limit: how many voices the owner may have; None: as many as anybody.

        Raises:
            ProtocolError: `too_many_voices`.
        """
        mine = sum(record.owner == owner for record in self._known.values())
        if limit is not None and mine + self._being_made[owner] >= limit:
            sentence = f"this key may have {limit} cloned voices; delete one first"
            raise ProtocolError(ErrorCode.TOO_MANY_VOICES, sentence)
        all_of_them = len(self._known) + self._being_made.total()
        if all_of_them >= self._config.max_cloned:
            sentence = f"{all_of_them} voices are there, which is the limit; delete one"
            raise ProtocolError(ErrorCode.TOO_MANY_VOICES, sentence)
        self._being_made[owner] += 1
        try:
            yield
        finally:
            self._being_made[owner] -= 1
            self._being_made = +self._being_made  # without those who make none any more

    # What other instances do.

    async def refresh(self) -> None:
        """Learn what was added and deleted. Raises EngineError."""
        begun = time.monotonic()
        ids = await self._ask(self.store.ids)
        for some in _batches(sorted(ids - self._known.keys()), THREADS):
            await asyncio.gather(*map(self._learn, some))
        for voice_id in list(self._known.keys() - ids):
            if self._seen[voice_id] < begun:  # else it was made after the listing
                self._drop(voice_id)

    async def _learn(self, voice_id: str) -> None:
        try:
            self._note(await self._ask(self.store.read, voice_id))
        except (VoiceGone, EngineError) as error:
            log.warning("a cloned voice cannot be read", voice=voice_id, reason=str(error))

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(self._config.refresh_s)
            try:
                await self.refresh()
            except EngineError as error:
                log.warning("the voice store could not be listed", reason=error.message)

    async def _current(self, voice_id: str) -> ClonedVoice:
        """Raises VoiceGone, EngineError."""
        known = self._known.get(voice_id)
        if known is not None and time.monotonic() - self._seen[voice_id] < _TRUSTED_S:
            return known
        record = await self._unless_gone(voice_id, self.store.read, voice_id)
        self._note(record)
        return record

    async def _unless_gone(self, voice_id: str, work: Callable[..., R], *args: str) -> R:
        try:
            return await self._ask(work, *args)
        except VoiceGone:
            self._drop(voice_id)
            raise

    def _note(self, record: ClonedVoice) -> None:
        self._known[record.id] = record
        self._seen[record.id] = time.monotonic()

    def _drop(self, voice_id: str) -> None:
        """Forget a voice that is gone, and all that was spoken in it."""
        self.conditionings.forget(voice_id)
        self._seen.pop(voice_id, None)
        if self._known.pop(voice_id, None) is not None:
            self._gone(voice_id)

    async def _ask(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Have the store do something. Raises EngineError, and VoiceGone as it is."""
        try:
            async with asyncio.timeout(_STORE_S):
                return await self._threads.run(work, *args, **kwargs)
        except BlobError as error:
            log.error("the voice store failed", reason=str(error))
            raise EngineError(_UNREACHABLE) from error
        except TimeoutError:
            raise EngineError(f"the voice store did not answer within {_STORE_S:g} s") from None

    def _as_voice(self, record: ClonedVoice) -> Voice | None:
        speaker = self._speakers.get(record.engine)
        if speaker is None or speaker.cloning is None:
            return None
        return Voice(
            id=record.id,
            name=record.name,
            language=record.language,
            sample_rate=speaker.engine.voices()[0].sample_rate,
            engine=record.engine,
            licence="consent of the speaker",
            version=voice_version(record, speaker),
            cloned=True,
        )


def _batches(items: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def gone_error(voice_id: str) -> EngineError:
    """What a listener hears whose voice was deleted meanwhile."""
    return EngineError(f"voice {voice_id!r:.80} is unknown", code=ErrorCode.UNKNOWN_VOICE)
