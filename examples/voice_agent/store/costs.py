"""What was used → what it costs. Pure, and exact."""

from decimal import Decimal

from examples.voice_agent.ports import Usage
from examples.voice_agent.store.config import Prices, TokenPrice

_MILLION = Decimal(1_000_000)
_PLACES = Decimal("0.000000001")


def llm_cost(prices: Prices, model: str, usage: Usage) -> Decimal:
    price = prices.models.get(model) or prices.models.get("default") or TokenPrice()
    fresh = max(0, usage.prompt_tokens - usage.cached_tokens)
    total = (
        fresh * price.prompt
        + usage.cached_tokens * price.cached
        + usage.completion_tokens * price.completion
    )
    return (total / _MILLION).quantize(_PLACES)


def asr_cost(prices: Prices, audio_ms: int) -> Decimal:
    return (prices.asr_minute * audio_ms / 60_000).quantize(_PLACES)


def tts_cost(prices: Prices, characters: int) -> Decimal:
    return (prices.tts_million_characters * characters / _MILLION).quantize(_PLACES)
