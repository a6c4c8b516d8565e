"""The language model T3 (a Llama) over several requests of unequal length at once.

The library runs one request at a time, through hooks that stay behind. Here each request has a
slot: two rows (with and without its text, for classifier-free guidance) of a cache of keys and
values that stay where they are, so requests join and leave between steps and need no padding.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

ROWS = 2
"""Of a slot: the conditional one first."""
_BLOCK = 256
"""Positions by which the cache grows."""
HeadPlace = tuple[int, int]
"""Layer and head."""


class Backbone:
    """T3's layers with a cache of `slots` requests; used by one thread.

    Args:
        t3: the library's T3 (its Llama variant).
        slots: most requests at a time.
        aligned_heads: heads whose attention follows the text as it is spoken.
    """

    def __init__(self, t3: Any, slots: int, aligned_heads: Sequence[HeadPlace]) -> None:
        self._llama = t3.tfmr
        self._head = t3.speech_head
        config = self._llama.config
        self._heads: int = config.num_attention_heads
        self._width: int = config.head_dim
        self._layers: int = config.num_hidden_layers
        if config.num_key_value_heads != self._heads:
            raise ValueError("grouped key-value heads are not supported")
        self._aligned: dict[int, list[int]] = {}
        for layer, head in aligned_heads:
            self._aligned.setdefault(layer, []).append(head)
        weight = self._head.weight
        shape = (self._layers, 2, ROWS * slots, self._heads, _BLOCK, self._width)
        self._cache = torch.zeros(shape, dtype=weight.dtype, device=weight.device)
        self.lengths = [0] * slots
        """Positions in use, of each slot."""

    @property
    def device(self) -> torch.device:
        return self._cache.device

    @property
    def capacity(self) -> int:
        """Positions that the cache has room for; it only grows."""
        return int(self._cache.shape[4])

    def prefill(self, slot: int, embeds: torch.Tensor) -> torch.Tensor:
        """Begin a request.

        Args:
            embeds: [2, length, width] of its prompt.

        Returns:
            Logits after it, [2, vocabulary].
        """
        length = embeds.shape[1]
        self._reserve(length)
        self.lengths[slot] = length
        rows = slice(ROWS * slot, ROWS * slot + ROWS)
        positions = torch.arange(length, device=self.device)[None].expand(ROWS, -1)

        def attend(layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            self._cache[layer, 0, rows, :, :length] = k
            self._cache[layer, 1, rows, :, :length] = v
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)

        hidden = self._run(embeds.to(self._cache.dtype), positions, attend)
        return self._logits(hidden[:, -1])

    def step(self, embeds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """One position more for the first `n` slots.

        Args:
            embeds: [2 * n, 1, width], by slot.

        Returns:
            Logits [2 * n, vocabulary] and what the aligned heads of the conditional rows attend
            to, their mean, [n, positions].
        """
        count = embeds.shape[0] // ROWS
        self._reserve(max(self.lengths[:count]) + 1)
        at = torch.tensor(self.lengths[:count], device=self.device).repeat_interleave(ROWS)
        self.lengths[:count] = [length + 1 for length in self.lengths[:count]]
        span = max(self.lengths[:count])
        rows = torch.arange(ROWS * count, device=self.device)
        mask = (torch.arange(span, device=self.device)[None] <= at[:, None])[:, None, None]
        watched: list[torch.Tensor] = []

        def attend(layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            keys, values = self._cache[layer, 0], self._cache[layer, 1]
            keys[rows, :, at] = k[:, :, 0]
            values[rows, :, at] = v[:, :, 0]
            keys, values = keys[: ROWS * count, :, :span], values[: ROWS * count, :, :span]
            if heads := self._aligned.get(layer):
                watched.append(_attention(q[::ROWS, heads], keys[::ROWS, heads], mask[::ROWS]))
            return F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)

        hidden = self._run(embeds.to(self._cache.dtype), at[:, None], attend)
        return self._logits(hidden[:, -1]), torch.cat(watched, dim=1).mean(dim=1)

    def move(self, source: int, target: int) -> None:
        """Give a request another slot."""
        length = self.lengths[source]
        old, new = ROWS * source, ROWS * target
        moved = self._cache[:, :, old : old + ROWS, :, :length]
        self._cache[:, :, new : new + ROWS, :, :length] = moved
        self.lengths[target] = length

    def _reserve(self, length: int) -> None:
        missing = length - self.capacity
        if missing > 0:
            grown = -(-missing // _BLOCK) * _BLOCK
            self._cache = F.pad(self._cache, (0, 0, 0, grown))

    def _run(self, x: torch.Tensor, positions: torch.Tensor, attend: Any) -> torch.Tensor:
        """The layers over `x` [rows, length, width] at `positions` [rows, length]."""
        turn = self._llama.rotary_emb(x, positions)
        shape = (*x.shape[:2], self._heads, self._width)
        for number in range(self._layers):
            layer = self._llama.layers[number]
            inner = layer.input_layernorm(x)
            own = layer.self_attn
            q, k, v = (
                projection(inner).view(shape).transpose(1, 2)
                for projection in (own.q_proj, own.k_proj, own.v_proj)
            )
            q, k = _turned(q, *turn), _turned(k, *turn)
            mixed = attend(number, q, k, v).transpose(1, 2).flatten(2)
            x = x + own.o_proj(mixed)
            x = x + layer.mlp(layer.post_attention_layernorm(x))
        return self._llama.norm(x)

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return self._head(hidden).float()


def _turned(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions: each pair (i, i + half) is turned by its angle."""
    first, second = x.chunk(2, dim=-1)
    return x * cos[:, None] + torch.cat((-second, first), dim=-1) * sin[:, None]


def _attention(q: torch.Tensor, k: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Weights of one query: [rows, heads, positions], float32."""
    scores = (q.float() @ k.float().transpose(-1, -2)) / q.shape[-1] ** 0.5
    return scores.masked_fill(~mask, float("-inf")).softmax(dim=-1)[:, :, 0]
