"""When an engine's lost process is started again, and when it is given up. Pure: knows no process.

Losses that come one after the other mean that a restart does not help; then the engine stays down
and says so, rather than load gigabytes again and again.
"""

from enum import Enum, auto
from typing import Protocol


class RestartPolicy(Protocol):
    """`services.tts.config.IsolationConfig` says what each means."""

    @property
    def wait_s(self) -> float: ...
    @property
    def max_restarts(self) -> int: ...
    @property
    def window_s(self) -> float: ...
    @property
    def backoff_s(self) -> float: ...
    @property
    def max_backoff_s(self) -> float: ...


class State(Enum):
    """What an engine's process is about."""

    STARTING = auto()
    """For the first time."""
    READY = auto()
    RESTARTING = auto()
    DOWN = auto()
    """For good."""


_SOON_S, _LATER_S = 2, 60
"""What refused callers are told to wait."""


class Restarts:
    """The life of one engine's process. Times are those of a monotonic clock, in seconds."""

    def __init__(self, name: str, policy: RestartPolicy) -> None:
        self.state = State.STARTING
        self._name = name
        self._policy = policy
        self._losses: list[float] = []
        """Times of those within the window."""
        self._out_since = 0.0
        """The first loss since it was ready."""
        self._why = ""

    def ready(self, now: float) -> None:
        """It has loaded."""
        self.state = State.READY

    def lost(self, now: float, why: str) -> float | None:
        """The process is gone, or its restart failed.

        Returns:
            Seconds to wait before it is started again; None: it stays down.
        """
        if self.state is not State.RESTARTING:
            self._out_since = now
        self._why = why
        self._losses = [at for at in self._losses if now - at < self._policy.window_s] + [now]
        if len(self._losses) > self._policy.max_restarts:
            self.state = State.DOWN
            return None
        self.state = State.RESTARTING
        if len(self._losses) == 1:
            return 0.0
        return float(
            min(self._policy.backoff_s * 2 ** (len(self._losses) - 2), self._policy.max_backoff_s)
        )

    def patience_s(self, now: float) -> float:
        """How long a request may wait for the restart that is under way."""
        if self.state is not State.RESTARTING:
            return 0.0
        return max(0.0, self._out_since + self._policy.wait_s - now)

    @property
    def retry_after_s(self) -> int:
        """When a refused caller should come back."""
        return _LATER_S if self.state is State.DOWN else _SOON_S

    def trouble(self) -> str | None:
        """Why it cannot serve, in a sentence for operators and callers; None: it can."""
        match self.state:
            case State.READY:
                return None
            case State.STARTING:
                return f"{self._name}: being loaded"
            case State.RESTARTING:
                return f"{self._name}: its process is being restarted ({self._why})"
            case State.DOWN:
                times = f"{len(self._losses)} times within {self._policy.window_s:g} s"
                return f"{self._name}: its process was lost {times} and stays down ({self._why})"
