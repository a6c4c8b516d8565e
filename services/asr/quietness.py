"""Where somebody who never pauses is cut. Pure."""

from collections import deque

from services.asr.vad.base import FRAME_SAMPLES


class Quietness:
    """The voice probabilities of the last frames.

    Args:
        frames: how far back a cut may lie.
    """

    def __init__(self, frames: int) -> None:
        self._recent: deque[float] = deque(maxlen=frames)

    def heard(self, probability: float) -> None:
        """One frame further."""
        self._recent.append(probability)

    def quietest(self, end: int, free: int) -> int:
        """The sample after the frame that sounds least like a voice.

        Args:
            end: one past the last sample heard.
            free: so many samples before it may be cut from; with less than two frames it is `end`.
        """
        frames = min(len(self._recent), free // FRAME_SAMPLES)
        if frames < 2:
            return end
        recent = list(self._recent)[-frames:]
        quietest = min(range(frames - 1), key=lambda index: recent[index])
        return end - (frames - 1 - quietest) * FRAME_SAMPLES
