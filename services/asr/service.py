"""The ASR service's parts put together: the models and the schedulers that own them."""

import asyncio
from typing import Any

import numpy as np
import structlog
from prometheus_client import CollectorRegistry

from services.asr.config import AsrConfig, EngineName
from services.asr.engines.base import DecodeRequest, Floats, Hypothesis
from services.asr.engines.registry import create_engine
from services.asr.engines.streaming import is_streaming
from services.asr.listening import Heard, Hearing, Listener
from services.asr.metrics import AsrMetrics
from services.asr.overload import Overload
from services.asr.recognition import BatchRecogniser, Recogniser, Recognition
from services.asr.recognition_failover import FailoverRecogniser
from services.asr.recognition_stream import StreamRecogniser
from services.asr.session_options import SessionOptions
from services.asr.vad.base import TurnModel, VadModel
from services.asr.vad.registry import create_turn_model, create_vad
from services.shared.models.store import ModelStore
from services.shared.runtime.scheduler import Scheduler

log = structlog.get_logger(__name__)

_GATHER_S = 0.01
"""Frames of all callers are heard together, a hundred times a second at most: with 200 callers this
spared the event loop 14 % of its CPU time and two of three preemptions (measured on one core)."""


class AsrService:
    """Owns the models and one scheduler for each; sessions and uploads share them."""

    def __init__(self, config: AsrConfig, store: ModelStore, registry: CollectorRegistry) -> None:
        self.config = config
        self.metrics = AsrMetrics(registry)
        self._registry = registry
        self._store = store
        self.recogniser: Recogniser = self._new_recogniser(config.engine.names)
        self.vad: VadModel = create_vad(config.vad, store)
        self.turn_model: TurnModel = create_turn_model(config.turn, config.vad, store)
        self.listener = Listener(self.vad)
        self.ears: Scheduler[Hearing, Heard] = Scheduler(
            "vad",
            self.listener.hear,
            metrics=self.metrics.models,
            max_batch=64,
            gather_s=_GATHER_S,
        )
        self.judges: Scheduler[Floats, float] = Scheduler(
            "turn", self.turn_model.probabilities, metrics=self.metrics.models, max_batch=4
        )
        self.overload = Overload(
            config.admission, self.recogniser.schedulers, (self.ears, self.judges), self.metrics
        )
        self._watching: asyncio.Task[None] | None = None

    @property
    def schedulers(self) -> tuple[Scheduler[Any, Any], ...]:
        return (self.ears, self.judges, *self.recogniser.schedulers)

    async def load(self) -> None:
        """Load and warm every model, off the event loop; ready afterwards."""
        await asyncio.to_thread(self._load)
        self.ears.start()
        self.judges.start()
        await self.recogniser.start()
        self._watching = asyncio.create_task(self.overload.watch())

    def _load(self) -> None:
        self.vad.load()
        self.turn_model.load()
        self.recogniser.load()
        silence = self.vad.new_state()
        self.vad.probabilities(_silence(512)[None], [silence])
        self.turn_model.probabilities([_silence(16_000)])

    async def unload(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        for scheduler in (self.ears, self.judges):
            if not await scheduler.close():
                log.error("model did not stop", model=scheduler.name)
        await self.recogniser.close()

    def engine_languages(self) -> tuple[str, ...]:
        return self.recogniser.capabilities.languages

    def new_recognition(self) -> Recognition:
        return self.recogniser.new_recognition()

    def session_options(self) -> SessionOptions:
        return self.config.session_options(self.recogniser.capabilities)

    def _new_recogniser(self, names: tuple[EngineName, ...]) -> Recogniser:
        ladder = [self._one_recogniser(name, preferred=name == names[0]) for name in names]
        if len(ladder) == 1:
            return ladder[0]
        return FailoverRecogniser(ladder, self.config.engine.failover_after_s, self._registry)

    def _one_recogniser(self, name: EngineName, *, preferred: bool) -> Recogniser:
        config = self.config.engine
        engine = create_engine(config, self._store, name)
        if is_streaming(engine):
            return StreamRecogniser(name, engine)
        decoder: Scheduler[DecodeRequest, Hypothesis] = Scheduler(
            "asr" if preferred else f"asr_{name}",
            engine.transcribe,
            metrics=self.metrics.models,
            batch_key=engine.batch_key,
            max_batch=config.max_batch,
            batch_cost=engine.cost,
            max_batch_s=config.max_batch_ms / 1000,
        )
        return BatchRecogniser(name, engine, decoder)


def _silence(samples: int) -> Floats:
    return np.zeros(samples, dtype=np.float32)
