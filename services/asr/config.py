"""Configuration of the ASR service. `config.yaml` beside this file holds the defaults in use."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from services.asr.degradation import Limits
from services.asr.endpointing import EndpointingOptions
from services.asr.engines.base import Capabilities
from services.asr.messages import TurnMode
from services.asr.session_options import SessionOptions
from services.shared.runtime.config import (
    PositiveMs,
    ServerConfig,
    ServiceSettings,
    StrictConfig,
)

DEFAULT_CONFIG = Path(__file__).with_name("config.yaml")

_SEGMENT_MARGIN_MS = 2000
"""What a segment stays below the engine's longest audio."""


EngineName = Literal["faster_whisper", "google", "fake"]


class GoogleConfig(StrictConfig):
    """Google Cloud Speech-to-Text v2; credentials come by GOOGLE_APPLICATION_CREDENTIALS."""

    project: str | None = None
    """None: the project of the credentials."""
    location: str = Field(default="global", pattern=r"^[a-z0-9-]+$")
    recognizer: str = "_"
    """The name of a recognizer of the project; `_`: none, everything is asked here."""
    endpoint: str | None = None
    """host:port instead of the location's; on loopback without TLS and credentials, for tests."""
    model: str = "latest_long"
    language_codes: tuple[str, ...] = Field(default=("en-US",), min_length=1)
    """BCP-47; with several Google detects which is spoken, unless the client says so."""
    word_times: bool = True
    """Some models have none; then long streams may lose or double a word where they are cut."""
    phrase_boost: float = Field(default=10.0, ge=0, le=20)
    """How much hotwords and prompt are favoured."""
    segment_s: float = Field(default=60.0, ge=10, le=3600)
    """Longest audio of one final."""
    roll_s: float = Field(default=240.0, gt=0, le=290)
    """Age from which on a stream is left for a new one at its next settled result."""
    longest_stream_s: float = Field(default=290.0, gt=0, le=300)
    """And at the latest; Google ends streams at 305 s."""
    replay_rate: float = Field(default=2.0, ge=1, le=100)
    """Seconds of audio sent a second when there is some to catch up with."""
    connect_timeout_s: float = Field(default=5.0, gt=0, le=60)
    final_timeout_s: float = Field(default=5.0, gt=0, le=60)
    """Longest wait for the last words after the last audio."""


class EngineConfig(StrictConfig):
    """Which recogniser, where it runs and how it decodes."""

    name: EngineName = "faster_whisper"
    failover: tuple[EngineName, ...] = ()
    """Several engines in order, instead of `name`: when one fails, the next goes on."""
    failover_after_s: float = Field(default=8.0, gt=0, le=300)
    """An engine that has not answered by then is given up for the next one."""
    model: str = "whisper-tiny.en"
    """An id of the model catalogue (`voice models list`) or a path to a CTranslate2 model."""
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    device_index: int | tuple[int, ...] = 0
    compute_type: str = "int8"
    cpu_threads: int = Field(default=1, ge=1, le=256)
    """Threads of one inference. More make one a little quicker and all together slower."""
    workers: int = Field(default=0, ge=0, le=64)
    """Inferences at a time, on each GPU if there are; 0: one a core (eight at most), one a GPU."""
    beam_size: int = Field(default=1, ge=1, le=10)
    """Beam of finals; partials are always greedy."""
    short_context: Literal["always", "partials", "never"] = "always"
    """Encode only as much as was said instead of 30 s: see services/asr/README.md for the cost."""
    recheck_below: float = Field(default=-0.6, ge=-10, le=0)
    """A final in short context whose mean log probability of a token is lower is decoded again in
    full context: see services/asr/README.md for what it recovers and costs."""
    max_batch: int = Field(default=8, ge=1, le=64)
    max_batch_ms: PositiveMs = 500
    """Longest batch by prediction: a caller never waits longer for the one before."""
    delay_ms: int = Field(default=0, ge=0, le=60_000)
    """Engine `fake` only: pretend that a batch takes so long."""
    google: GoogleConfig = GoogleConfig()

    @property
    def names(self) -> tuple[EngineName, ...]:
        """The engines to use, the first one first."""
        return self.failover or (self.name,)

    @field_validator("failover")
    @classmethod
    def _several(cls, names: tuple[EngineName, ...]) -> tuple[EngineName, ...]:
        if len(names) == 1 or len(set(names)) < len(names):
            raise ValueError("name at least two engines, each once, or none")
        return names


class VadConfig(StrictConfig):
    """Voice activity."""

    name: Literal["silero", "energy"] = "silero"
    model: str = "silero-vad"
    start_threshold: float = Field(default=0.5, gt=0, lt=1)
    stop_threshold: float = Field(default=0.35, gt=0, lt=1)
    start_ms: PositiveMs = 96
    pre_roll_ms: int = Field(default=500, ge=0, le=5000)


class TurnConfig(StrictConfig):
    """When a speaker is taken to be done; clients may ask otherwise in `start.turn`."""

    mode: TurnMode = TurnMode.SMART
    model: str = "smart-turn-v3.2"
    threshold: float = Field(default=0.5, gt=0, lt=1)
    judge_ms: tuple[PositiveMs, ...] = (200, 500, 1000)
    judge_lead_ms: int = Field(default=40, ge=0, le=1000)
    speculate_ms: PositiveMs = 96
    silence_ms: PositiveMs = 600
    max_silence_ms: PositiveMs = 2000


class PartialsConfig(StrictConfig):
    every_ms: PositiveMs = 250
    after_ms: PositiveMs = 400


class UploadConfig(StrictConfig):
    """Limits of `POST /v1/transcribe`."""

    max_bytes: int = Field(default=200 << 20, ge=1024)
    max_duration_s: float = Field(default=3600.0, gt=0)
    """An hour of samples is 230 MB while it is transcribed."""
    max_concurrent: int = Field(default=2, ge=1)
    """Files being received or transcribed; each counts as a session, too."""
    receive_s: float = Field(default=300.0, gt=0, le=86_400)
    """A file must have arrived within this."""
    transcribe_s: float = Field(default=3600.0, gt=0, le=86_400)
    """And its transcript be ready within this; live callers go first."""


class AdmissionConfig(StrictConfig):
    """What is given up when finals come late, in this order; finals never are."""

    enabled: bool = True
    sparse_late_ms: PositiveMs = 500
    """How late finals are, queue and slowed run, from when on partials come as rarely as can be."""
    finals_only_late_ms: PositiveMs = 1000
    """From when on there are no partials, and files wait."""
    refuse_late_ms: PositiveMs = 2000
    """From when on nobody new is let in."""
    refuse_occupied: float = Field(default=0.9, gt=0, le=1)
    """Or when finals alone, with one more caller's, would take this share of the engine's time."""

    return_s: float = Field(default=5.0, gt=0, le=600)
    """How long finals must be punctual (half as late) before one step is taken back."""

    newcomers: int = Field(default=100, ge=1, le=10_000)
    """Who may come in within three seconds, before it shows what they cost; or as many as there
    are already, if those are more. In a rolling restart all callers of an instance come at once."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.sparse_late_ms <= self.finals_only_late_ms <= self.refuse_late_ms:
            raise ValueError("sparse_late_ms <= finals_only_late_ms <= refuse_late_ms, please")
        return self

    @property
    def limits(self) -> Limits:
        return Limits(
            sparse_s=self.sparse_late_ms / 1000,
            finals_only_s=self.finals_only_late_ms / 1000,
            refuse_s=self.refuse_late_ms / 1000,
            refuse_occupied=self.refuse_occupied,
            return_s=self.return_s,
        )


class ResumeConfig(StrictConfig):
    """Sessions that outlive their connection, for clients that ask for it (`start.resumable`)."""

    window_s: float = Field(default=30.0, gt=0, le=3600)
    """How long a session waits for a client whose connection was lost."""
    max_parked: int = Field(default=100, ge=0, le=10_000)
    """How many may wait; each still counts as a session, so all of `limits.max_sessions` when the
    network was away. 0: none is resumed."""
    replay_bytes: int = Field(default=1 << 18, ge=4096, le=64 << 20)
    """Events of a session that are kept in case they must be sent again."""


class AsrConfig(ServiceSettings):
    """The whole configuration; overrides by environment start with `ASR__`."""

    model_config = SettingsConfigDict(env_prefix="ASR__")

    server: ServerConfig = ServerConfig(port=8001)
    engine: EngineConfig = EngineConfig()
    vad: VadConfig = VadConfig()
    turn: TurnConfig = TurnConfig()
    partials: PartialsConfig = PartialsConfig()
    admission: AdmissionConfig = AdmissionConfig()
    upload: UploadConfig = UploadConfig()
    resume: ResumeConfig = ResumeConfig()
    engine_timeout_s: float = Field(default=30.0, gt=0, le=600)
    """A model that works on one batch for longer hangs: what waits for it has failed. A queue is
    no failure: what waits its turn may wait ten times as long."""

    def session_options(self, engine: Capabilities) -> SessionOptions:
        """What sessions need to know of all this, and of the engine."""
        turn, vad = self.turn, self.vad
        endpointing = EndpointingOptions(
            mode=turn.mode,
            start_threshold=vad.start_threshold,
            stop_threshold=vad.stop_threshold,
            start_ms=vad.start_ms,
            pre_roll_ms=vad.pre_roll_ms,
            speculate_ms=turn.speculate_ms,
            judge_ms=turn.judge_ms,
            judge_lead_ms=turn.judge_lead_ms,
            threshold=turn.threshold,
            silence_ms=turn.silence_ms,
            max_silence_ms=turn.max_silence_ms,
        )
        return SessionOptions(
            endpointing=endpointing,
            languages=engine.languages,
            streaming=engine.streaming,
            **_segments(engine),
            partial_every_ms=self.partials.every_ms,
            partial_after_ms=self.partials.after_ms,
        )


def _segments(engine: Capabilities) -> dict[str, int]:
    """How long segments may be. Batch engines have segments of Whisper's length."""
    longest_ms = round(engine.max_seconds * 1000) - _SEGMENT_MARGIN_MS
    if engine.streaming:
        return {"segment_ms": longest_ms, "commit_ms": longest_ms // 2}
    return {"segment_ms": min(longest_ms, 28_000)}
