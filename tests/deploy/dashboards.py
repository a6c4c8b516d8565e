"""What the dashboard and the rules ask of Prometheus."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yml"
DASHBOARD = DEPLOY / "grafana" / "voice.json"


@dataclass(frozen=True)
class Query:
    """An expression of PromQL."""

    of: str
    """Whose it is: a panel's title and series, or a rule's name."""
    text: str


def dashboard() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return read


def panel_queries(interval: str, of: dict[str, str]) -> list[Query]:
    """All queries of the dashboard, with its variables filled in.

    Args:
        interval: for `$__rate_interval` and `$__range`.
        of: values of the dashboard's own variables.
    """
    variables = {**of, "__rate_interval": interval, "__range": interval}
    queries = [
        Query(f"{panel['title']}: {target['refId']}", target["expr"])
        for panel in dashboard()["panels"]
        for target in panel.get("targets", [])
    ]
    queries += [
        Query(f"annotation {each['name']}", each["expr"])
        for each in dashboard()["annotations"]["list"]
        if "expr" in each
    ]
    return [Query(each.of, _filled(each.text, variables)) for each in queries]


def _filled(text: str, variables: dict[str, str]) -> str:
    return re.sub(r"\$(\w+)", lambda found: variables[found[1]], text)


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def recordings() -> list[Query]:
    return [Query(rule["record"], rule["expr"]) for rule in rules() if "record" in rule]


def alerts() -> list[Query]:
    return [Query(rule["alert"], rule["expr"]) for rule in rules() if "alert" in rule]


def metrics_in(text: str) -> set[str]:
    """The metrics that an expression names."""
    outside = re.sub(r"\{[^}]*\}|\b(?:by|on|ignoring)\s*\([^)]*\)|\bgroup_left\s*\(\)", "", text)
    return set(re.findall(r"(?<![:\w])(?:(?:voice|process)_\w+|up|ALERTS)\b(?!:)", outside))
