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
    """What the instances of each service are told, by environment.

    Each instance has room for all callers, so that the others can take those of one that dies,
    and twice, for a moment: the old session of somebody who is back already may not have ended.
    """
    room = 2 * max(plan.callers, plan.fault_callers) + 20
    common = {
        name: {
            f"{name}__LIMITS__MAX_SESSIONS": str(room),
            f"{name}__SERVER__DRAIN_S": str(plan.drain_s),
        }
        for name in ("ASR", "TTS")
    }
    fake = plan.exact
    return {
        "asr": common["ASR"] | (FAKE_ASR if fake else {}) | {"ASR__RESUME__MAX_PARKED": str(room)},
        "tts": common["TTS"] | (FAKE_TTS if fake else {}),
    }
