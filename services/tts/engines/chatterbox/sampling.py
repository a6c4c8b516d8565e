"""How the next speech token is drawn; the library's rules, for several requests at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

_NOISE_STEPS = 32


@dataclass(frozen=True, slots=True)
class Sampling:
    """The settings of one request."""

    temperature: float = 0.8
    cfg_weight: float = 0.5
    """How strongly the text pulls; 0 switches to a path that is broken in the library."""
    min_p: float = 0.05
    """Tokens less likely than this part of the likeliest are not drawn."""
    top_p: float = 1.0
    repetition_penalty: float = 1.2


class Noise:
    """The chance of one request: equal seeds draw equally, whoever else is being served."""

    def __init__(self, seed: int, vocabulary: int, device: torch.device) -> None:
        self._generator = torch.Generator(device=device).manual_seed(seed)
        self._shape = (_NOISE_STEPS, vocabulary)
        self._rows: list[torch.Tensor] = []

    def next(self) -> torch.Tensor:
        """[vocabulary] exponential draws."""
        if not self._rows:
            device = self._generator.device
            drawn = torch.empty(self._shape, device=device)
            # What the generator can give includes 0, which would divide by zero.
            drawn.exponential_(generator=self._generator).clamp_(min=1e-20)
            self._rows = list(drawn.flip(0).unbind())
        return self._rows.pop()


def draw(
    logits: torch.Tensor, seen: torch.Tensor, sampling: Sequence[Sampling], noise: torch.Tensor
) -> torch.Tensor:
    """Draw a token for each request.

    Args:
        logits: [n, vocabulary], guided (`guided`), float32.
        seen: [n, vocabulary], the tokens so far.
        noise: [n, vocabulary] from `Noise`.

    Returns:
        [n] tokens. The likeliest of probability / exponential noise is a draw from the
        distribution; so it is done inside `torch.multinomial`, too.
    """
    return (probabilities(logits, seen, sampling) / noise).argmax(dim=-1)


def guided(logits: torch.Tensor, sampling: Sequence[Sampling]) -> torch.Tensor:
    """[2 * n, vocabulary] with and without text → [n, vocabulary]: away from the latter."""
    conditional, free = logits[::2], logits[1::2]
    weight = _column([each.cfg_weight for each in sampling], logits)
    return conditional + weight * (conditional - free)


def probabilities(
    logits: torch.Tensor, seen: torch.Tensor, sampling: Sequence[Sampling]
) -> torch.Tensor:
    """[n, vocabulary]: repetition penalty, temperature, min-p, top-p, in this order."""
    penalty = _column([each.repetition_penalty for each in sampling], logits)
    punished = torch.where(logits < 0, logits * penalty, logits / penalty)
    logits = torch.where(seen, punished, logits)
    logits = logits / _column([each.temperature for each in sampling], logits)
    chances = logits.softmax(dim=-1)
    least = chances.amax(dim=-1, keepdim=True) * _column([each.min_p for each in sampling], logits)
    logits = logits.masked_fill(chances < least, float("-inf"))
    if any(each.top_p < 1 for each in sampling):
        logits = _within_top_p(logits, _column([each.top_p for each in sampling], logits))
    return logits.softmax(dim=-1)


def _within_top_p(logits: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    ordered, order = logits.sort(dim=-1)
    rare = ordered.softmax(dim=-1).cumsum(dim=-1) <= 1 - top_p
    rare[:, -1] = False
    return logits.masked_fill(rare.scatter(-1, order, rare), float("-inf"))


def _column(values: Sequence[float], like: torch.Tensor) -> Any:
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None]
