"""The table of metrics in a service's README, and what the service tells."""

import re
from collections.abc import Iterable

import httpx
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.services.serving import LiveService

_SUFFIX = {"counter": "_total"}


def families(live: LiveService) -> list[Metric]:
    text = httpx.get(f"{live.http}/metrics", trust_env=False).text
    return list(text_string_to_metric_families(text))


def table(readme: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Name → type and labels, of the rows between the marks."""
    [found] = re.findall(r"<!-- metrics -->\n(.*?)<!-- /metrics -->", readme, re.DOTALL)
    rows = re.findall(r"^\| `(\w+)(?:\{([\w, ]*)\})?` \| (\w+) \| \S", found, re.MULTILINE)
    assert len(rows) == found.count("\n") - 2, "each row is a metric"
    return {
        name: (kind, frozenset(label for label in labels.split(", ") if label))
        for name, labels, kind in rows
    }


def check(readme: str, told: Iterable[Metric]) -> None:
    """Every metric is in the table with its type and labels, and nothing else is."""
    listed, seen = table(readme), set()
    for family in told:
        if family.name.endswith("_created"):
            continue
        name = family.name + _SUFFIX.get(family.type, "")
        seen.add(name)
        assert name in listed, f"{name} is missing"
        kind, labels = listed[name]
        assert kind == family.type, name
        for sample in family.samples:
            assert frozenset(sample.labels) - {"le"} == labels, name
    assert seen == set(listed)
