"""One listener as the service sees it: what it was sent, when it needs more, whether it waited."""

import time

from services.tts.admission import FIRST_AUDIO_TARGET_S
from services.tts.metrics import TtsMetrics
from services.tts.pacing import PlaybackClock

_NOTICEABLE_S = 0.02
"""A client that takes a message within this time reads fast enough."""


class Listener:
    """Plays what it gets in real time, one thing after the other."""

    def __init__(self, metrics: TtsMetrics) -> None:
        self._metrics = metrics
        self._clock = PlaybackClock()

    @property
    def playing(self) -> bool:
        """It has not heard all yet."""
        return self._clock.playing(time.monotonic())

    def deadline(self, asked_at: float, ahead_s: float = 0.0) -> float:
        """By when the next piece is needed.

        Args:
            asked_at: when its segment was asked for.
            ahead_s: audio that is not sent yet and comes before it.
        """
        until = self._clock.until
        # One who hears nothing can wait a moment while others would run dry.
        return (until if until > asked_at else asked_at + FIRST_AUDIO_TARGET_S) + ahead_s

    def waits(self, asked_at: float) -> bool:
        """It has heard nothing since the segment was asked for."""
        return self._clock.until <= asked_at

    def heard_first(self, asked_at: float, source: str) -> None:
        """The first piece for one that waits is there."""
        self._metrics.first_audio_s.labels(source).observe(time.monotonic() - asked_at)

    def sent(self, seconds: float, asked_at: float) -> None:
        """Audio of a segment leaves."""
        now = time.monotonic()
        if asked_at < self._clock.until < now:  # its text was there before the sound ended
            self._metrics.underruns.inc()
            self._metrics.underrun_s.inc(now - self._clock.until)
        self._clock.sent(seconds, now)
        self._metrics.audio_s.inc(seconds)

    def taken(self, since: float) -> None:
        """The client took what was offered at `since`; its own slowness is no underrun."""
        now = time.monotonic()
        if now - since > _NOTICEABLE_S:
            self._clock.delayed(now - since, now)

    def stopped(self) -> None:
        """It dropped what it had not heard."""
        self._clock.stopped(time.monotonic())
