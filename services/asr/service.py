"""The ASR service's parts put together: the models and the schedulers that own them."""

import asyncio
from typing import Any

import numpy as np
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.asr.config import AsrConfig
from services.asr.engines.base import AsrEngine, DecodeRequest, Floats, Hypothesis
from services.asr.engines.registry import create_engine
from services.asr.listening import Heard, Hearing, Listener
from services.asr.recognition import BatchRecognition, Recognition
from services.asr.session import SessionOptions
from services.asr.vad.base import TurnModel, VadModel
from services.asr.vad.registry import create_turn_model, create_vad
from services.shared.models.store import ModelStore
from services.shared.runtime.metrics import LATENCY_S
from services.shared.runtime.scheduler import Scheduler

log = structlog.get_logger(__name__)


class AsrMetrics:
    """What matters to an operator of ASR beyond what every service has."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.audio_s = Counter("voice_asr_audio_seconds", "Audio received", registry=registry)
        self.dropped_s = Counter(
            "voice_asr_dropped_audio_seconds", "Audio lost; 0 or a defect", registry=registry
        )
        self.finals = Counter("voice_asr_finals", "Finals sent", ["suppressed"], registry=registry)
        self.parked = Gauge(
            "voice_asr_parked_sessions", "Waiting for their client's return", registry=registry
        )
        self.resumed = Counter("voice_asr_resumed", "Clients that returned", registry=registry)
        self.expired = Counter(
            "voice_asr_expired", "Parked sessions whose client did not return", registry=registry
        )
        self.final_s = Histogram(
            "voice_asr_final_seconds",
            "Last voiced audio received to final sent",
            buckets=LATENCY_S,
            registry=registry,
        )


class AsrService:
    """Owns the models and one scheduler for each; sessions and uploads share them."""

    def __init__(self, config: AsrConfig, store: ModelStore, registry: CollectorRegistry) -> None:
        self.config = config
        self.metrics = AsrMetrics(registry)
        self.engine: AsrEngine = create_engine(config.engine, store)
        self.vad: VadModel = create_vad(config.vad, store)
        self.turn_model: TurnModel = create_turn_model(config.turn, config.vad, store)
        self.listener = Listener(self.vad)
        self.ears: Scheduler[Hearing, Heard] = Scheduler(
            "vad", self.listener.hear, registry=registry, max_batch=64
        )
        self.judges: Scheduler[Floats, float] = Scheduler(
            "turn", self.turn_model.probabilities, registry=registry, max_batch=4
        )
        self.decoder: Scheduler[DecodeRequest, Hypothesis] = Scheduler(
            "asr",
            self.engine.transcribe,
            registry=registry,
            batch_key=self.engine.batch_key,
            max_batch=config.engine.max_batch,
            batch_cost=self.engine.cost,
            max_batch_s=config.engine.max_batch_ms / 1000,
        )

    @property
    def schedulers(self) -> tuple[Scheduler[Any, Any], ...]:
        return (self.ears, self.judges, self.decoder)

    async def load(self) -> None:
        """Load and warm every model, off the event loop; ready afterwards."""
        await asyncio.to_thread(self._load)
        self.ears.start()
        self.judges.start()
        self.decoder.start(self.engine.capabilities.lanes)

    def _load(self) -> None:
        self.vad.load()
        self.turn_model.load()
        self.engine.load()
        silence = self.vad.new_state()
        self.vad.probabilities(_silence(512)[None], [silence])
        self.turn_model.probabilities([_silence(16_000)])
        self.engine.warm_up()

    async def unload(self) -> None:
        for scheduler in self.schedulers:
            if not await scheduler.close():
                log.error("model did not stop", model=scheduler.name)
        await asyncio.to_thread(self.engine.close)

    def engine_languages(self) -> tuple[str, ...]:
        return self.engine.capabilities.languages

    def new_recognition(self) -> Recognition:
        return BatchRecognition(self.decoder)

    def session_options(self) -> SessionOptions:
        return self.config.session_options(self.engine_languages())


def _silence(samples: int) -> Floats:
    return np.zeros(samples, dtype=np.float32)
