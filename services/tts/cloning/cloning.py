"""Voice cloning as the service has it: the voices, and what makes them."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from services.shared.models.store import ModelStore
from services.tts.cloning.maker import VoiceMaker
from services.tts.cloning.shelf import VoiceShelf
from services.tts.config import VoicesConfig
from services.tts.speakers import Speaker


@dataclass(frozen=True, slots=True)
class Cloning:
    """Where a voice store is configured."""

    shelf: VoiceShelf
    maker: VoiceMaker

    @classmethod
    def create(
        cls,
        config: VoicesConfig,
        models: ModelStore,
        speakers: Mapping[str, Speaker],
        gone: Callable[[str], None],
    ) -> "Cloning | None":
        """None: no store is configured. See `VoiceShelf` for `gone`."""
        if config.store is None:
            return None
        shelf = VoiceShelf(config, speakers, gone)
        return cls(shelf, VoiceMaker(config.reference, models, shelf, speakers))

    async def open(self) -> None:
        """Once the engines run. Raises EngineError: the store cannot be used."""
        await asyncio.to_thread(self.maker.load)
        await self.shelf.open()

    async def close(self) -> None:
        await self.shelf.close()
        self.maker.close()
