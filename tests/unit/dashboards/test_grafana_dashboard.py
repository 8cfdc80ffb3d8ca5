"""The dashboard asks for metrics and labels that the server and the operator really expose."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from mlinfra.serving.metrics import ServingMetrics
from mlinfra_operator.runtime.prometheus import ObservedState, OperatorMetrics

DASHBOARD = json.loads((Path(__file__).parents[3] / "dashboards" / "mlinfra.json").read_text())
KINDS = ("trainingjobs", "modelversions", "retrainingpolicies")
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
METRIC = re.compile(r"\b(mlinfra_\w+)(?:\{([^}]*)\})?")
NOT_OF_A_SERIES = {"le"}


def exposed() -> dict[str, set[str]]:
    """Labels of each series by its name."""
    operator = OperatorMetrics()
    operator.observe(ObservedState(dict.fromkeys(KINDS, ()), depth=int, leads=bool))
    return {
        name: labels
        for registry in (ServingMetrics().registry, operator.registry)
        for name, labels in series(registry)
    }


def series(registry: CollectorRegistry) -> Iterator[tuple[str, set[str]]]:
    for collector in list(registry._collector_to_names):
        # A family without samples tells its labels nowhere else.
        for family in collector.collect():
            labels = set(getattr(collector, "_labelnames", ()) or getattr(family, "_labelnames", ()))
            for suffix in SUFFIXES.get(family.type, ()):
                yield family.name + suffix, labels


def queries() -> list[str]:
    targets = [target["expr"] for panel in panels() for target in panel.get("targets", ())]
    return targets + [each["definition"] for each in DASHBOARD["templating"]["list"] if "definition" in each]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = DASHBOARD["panels"]
    return found


@pytest.mark.parametrize("query", sorted(set(queries())))
def test_what_a_query_names_is_exposed(query: str) -> None:
    known, named = exposed(), METRIC.findall(query)
    assert named
    labels: set[str] = set()
    for metric, selector in named:
        assert metric in known
        assert set(re.findall(r"(\w+)\s*[=!]", selector)) <= known[metric]
        labels |= known[metric]
    for group in re.findall(r"\bby \(([^)]*)\)", query):
        assert set(group.split(", ")) - NOT_OF_A_SERIES <= labels
    for metric, label in re.findall(r"label_values\((\w+), (\w+)\)", query):
        assert label in known[metric]


def test_every_gauge_of_monitoring_is_shown_or_is_a_detail() -> None:
    details = {
        "mlinfra_monitoring_drift_window_end_timestamp_seconds",
        "mlinfra_monitoring_performance_standard_error",
        "mlinfra_monitoring_performance_breached",
    }
    monitoring = {name for name in exposed() if name.startswith("mlinfra_monitoring_")}
    assert monitoring - {name for query in queries() for name, _ in METRIC.findall(query)} == details


def test_legends_name_labels_that_the_query_keeps() -> None:
    for panel in panels():
        for target in panel.get("targets", ()):
            kept = {
                each for group in re.findall(r"by \(([^)]*)\)", target["expr"]) for each in group.split(", ")
            }
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= kept, panel["title"]


def test_panels_have_an_id_each_and_do_not_overlap() -> None:
    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in panels()):
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells
