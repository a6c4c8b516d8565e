"""What the service itself counts, read from its `/metrics` before and after a level."""

import asyncio
from dataclasses import dataclass, field

import httpx

from services.bench.load import Buckets, difference, quantile


@dataclass(frozen=True, slots=True)
class Counters:
    """One reading; empty when the service does not tell."""

    totals: dict[str, float] = field(default_factory=dict)
    """Sample name → value, summed over its labels."""
    buckets: dict[str, Buckets] = field(default_factory=dict)
    """Histogram name → observations up to each bound."""


async def read_counters(http_url: str) -> Counters:
    """Never raises: a service that cannot be asked gives an empty reading."""
    try:
        async with httpx.AsyncClient(timeout=10.0, trust_env=False) as client:
            answer = await client.get(f"{http_url}/metrics")
    except httpx.HTTPError:
        return Counters()
    if answer.status_code != 200:
        return Counters()
    # Off the event loop: whoever is being timed on it would look slow.
    return await asyncio.to_thread(_parsed, answer.text)


def _parsed(text: str) -> Counters:
    from prometheus_client.parser import text_string_to_metric_families

    read = Counters()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.endswith("_bucket"):
                buckets = read.buckets.setdefault(sample.name.removesuffix("_bucket"), {})
                bound = float(sample.labels["le"])
                buckets[bound] = buckets.get(bound, 0.0) + sample.value
            else:
                read.totals[sample.name] = read.totals.get(sample.name, 0.0) + sample.value
    return read


def increase(after: Counters, before: Counters, name: str) -> int | None:
    """How much a counter grew; None when the service has none of that name."""
    if name not in after.totals:
        return None
    return round(after.totals[name] - before.totals.get(name, 0.0))


def quantile_ms(after: Counters, before: Counters, name: str, share: float) -> float | None:
    """Milliseconds below which `share` of a histogram's new observations lie."""
    grown = difference(after.buckets.get(name, {}), before.buckets.get(name, {}))
    found = quantile(grown, share)
    return None if found is None else round(found * 1000, 1)
