"""The dashboard is one that Grafana can import."""

import re
from itertools import combinations
from typing import Any

from tests.deploy.dashboards import dashboard

UNITS = {"short", "s", "bytes", "percentunit", "ops", "reqps"}
"""Grafana's ids of units."""
KINDS = {"row", "stat", "timeseries"}


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = dashboard()["panels"]
    return found


def test_it_is_a_dashboard_of_its_own() -> None:
    whole = dashboard()
    assert whole["schemaVersion"] >= 39
    assert whole["id"] is None, "Grafana gives the number; a fixed one would replace another"
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,40}", whole["uid"])
    assert whole["title"]
    assert "__inputs" not in whole, "the data source is a variable"


def test_panels_are_whole_and_do_not_overlap() -> None:
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids))
    covered = [cells(panel) for panel in panels()]
    for one, other in combinations(covered, 2):
        assert not one & other
    for panel in panels():
        assert panel["type"] in KINDS
        assert panel["title"]
        place = panel["gridPos"]
        assert 0 <= place["x"] <= place["x"] + place["w"] <= 24
        if panel["type"] != "row":
            assert panel["description"]
            assert panel["targets"]
            assert panel["fieldConfig"]["defaults"]["unit"] in UNITS


def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
    place = panel["gridPos"]
    columns = range(place["x"], place["x"] + place["w"])
    return {(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])}


def test_every_query_goes_to_the_chosen_data_source_and_services() -> None:
    source = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels():
        if panel["type"] == "row":
            continue
        assert panel["datasource"] == source
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references))
        for target in panel["targets"]:
            assert target["datasource"] == source
            selectors = re.findall(r"\{([^}]*)\}", target["expr"])
            assert selectors
            for selector in selectors:
                assert 'job=~"$job", instance=~"$instance"' in selector, target["expr"]


def test_its_variables_are_those_that_are_used() -> None:
    declared = {each["name"] for each in dashboard()["templating"]["list"]}
    text = str([panel.get("targets") for panel in panels()])
    used = set(re.findall(r"\$\{?(\w+)", text)) - {"__rate_interval", "__range"}
    assert used == declared == {"datasource", "job", "instance"}
