"""What a run of `voice bench cluster` is to do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

EngineKind = Literal["fake", "real"]


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """The command's options."""

    corpus: Path
    asr: int
    """Instances."""
    tts: int
    callers: int
    seconds: float
    """Of the load; 0: none is measured."""
    faults: tuple[str, ...]
    fault_callers: int
    soak_minutes: float
    """0: none."""
    engine: EngineKind
    partials: bool
    seed: int
    drain_s: float
    """After SIGTERM instances give their sessions this long."""
    max_sessions: int | None = None
    """Of each instance; None: as its configuration says, so that what is measured is what ships."""
    asr_config: Path | None = None
    tts_config: Path | None = None
    asr_url: str | None = None
    """`http://host:port` of a cluster that runs already: only load and soak then."""
    tts_url: str | None = None
    asr_key: str | None = None
    tts_key: str | None = None

    @property
    def exact(self) -> bool:
        return self.engine == "fake"


FAKE_ASR = {
    "ASR__ENGINE__NAME": "fake",
    "ASR__VAD__NAME": "energy",
    "ASR__TURN__MODE": "silence",
}
FAKE_TTS = {
    "TTS__ENGINES__PIPER__ENABLED": "false",
    "TTS__ENGINES__FAKE__ENABLED": "true",
}
"""No model at all: what is measured is the plumbing."""


def environments(plan: ClusterPlan) -> dict[str, dict[str, str]]:
    """What the instances of each service are told, by environment."""
    told = {
        "asr": {"ASR__SERVER__DRAIN_S": str(plan.drain_s)} | (FAKE_ASR if plan.exact else {}),
        "tts": {"TTS__SERVER__DRAIN_S": str(plan.drain_s)} | (FAKE_TTS if plan.exact else {}),
    }
    if plan.max_sessions is not None:
        room = str(plan.max_sessions)
        told["asr"] |= {"ASR__LIMITS__MAX_SESSIONS": room, "ASR__RESUME__MAX_PARKED": room}
        told["tts"] |= {"TTS__LIMITS__MAX_SESSIONS": room}
    return told
