"""Mean and spread of very many values, one array at a time. Pure."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Pitch:
    """Of the voiced frames of a data set, Hz."""

    mean: float
    std: float


@dataclass(frozen=True, slots=True)
class Moments:
    """Of the values seen so far; two can be added (Chan, Golub, LeVeque)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    """Sum of the squared distances from the mean."""

    @classmethod
    def of(cls, values: npt.NDArray[np.floating]) -> "Moments":
        if not len(values):
            return cls()
        exact = values.astype(np.float64)
        mean = float(exact.mean())
        return cls(len(exact), mean, float(np.square(exact - mean).sum()))

    def __add__(self, other: "Moments") -> "Moments":
        count = self.count + other.count
        if not count:
            return self
        apart = other.mean - self.mean
        return Moments(
            count,
            self.mean + apart * other.count / count,
            self.squares + other.squares + apart * apart * self.count * other.count / count,
        )

    @property
    def std(self) -> float:
        return float(np.sqrt(self.squares / self.count)) if self.count else 0.0
