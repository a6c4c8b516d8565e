"""A model-free stand-in for the turn model, for tests and for machines without weights."""

from services.asr.vad.base import Floats


class AlwaysDone:
    """A turn model that takes every pause for the end."""

    def load(self) -> None:
        """Nothing to load."""

    def probabilities(self, turns: list[Floats]) -> list[float]:
        return [1.0] * len(turns)
