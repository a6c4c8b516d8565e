"""How often a turn is worth a partial. Pure."""

from services.asr.commands import JobCost
from services.asr.degradation import Level
from services.asr.session_options import SessionOptions
from services.asr.turns import Turn, ms_of


class PartialPace:
    """Slower when the engine is slow, and when the service is overloaded."""

    def __init__(self, options: SessionOptions) -> None:
        self.level = Level.NORMAL
        self._options = options
        self._every_ms = float(options.partial_every_ms)

    def learn(self, cost: JobCost) -> None:
        """What the last partial took."""
        wanted = max(self._options.partial_every_ms, 2 * (cost.queue_ms + cost.run_ms))
        self._every_ms = min(wanted, self._options.partial_slowest_ms)

    def due(self, turn: Turn, end: int, *, paused: bool) -> bool:
        """Whether the audio up to the sample `end` has enough that no partial has shown."""
        if self.level >= Level.FINALS_ONLY or turn.speech_end <= turn.partial_end:
            return False
        if ms_of(end - turn.speech_start) < self._options.partial_after_ms:
            return False
        sparse = self.level is Level.SPARSE
        return ms_of(end - turn.partial_end) >= self._wait_ms(turn) or (paused and not sparse)

    def _wait_ms(self, turn: Turn) -> float:
        """The first one is never put off: whoever is interrupted waits for it."""
        if turn.partial_end == turn.speech_start:
            return self._options.partial_every_ms
        sparse = self.level is Level.SPARSE
        return self._options.partial_slowest_ms if sparse else self._every_ms
