"""`config/monitoring/`: the alert rules and the dashboard ask for metrics, labels and values that exist."""

import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from bff.observe.dependency_metrics import ProviderCall, StoreCall
from bff.observe.metrics import Metrics
from tests.structure.source import ROOT

MONITORING = ROOT / "config" / "monitoring"
PRODUCT = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "bff").rglob("*.py")))
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TARGETS = ("job", "instance")
"""Labels that Prometheus gives to what it scrapes."""

EVENTS = "/bff/events"
ANY_ALERT = "Bff.*"

Series = dict[str, dict[str, set[str]]]
"""The labels of each series by its name, and the values seen of each."""


def series() -> Series:
    """The series of a process that has met one of everything, and those of the supervisor."""
    metrics = Metrics()
    metrics.name_providers(["main", "partners"])
    with metrics.at(frontend="shop", provider="main").provider_call("token"):
        pass
    metrics.request_finished("/api", "GET", 500, 0.1)
    metrics.requests("/api", "GET").add(200, 0.1, 0.05, 0.01)
    metrics.request_finished(EVENTS, "GET", 200, 3600)
    metrics.at(frontend="shop").requests("/api", "GET").add(200, 0.1, 0.05, 0.01)
    metrics.settings_taken("0" * 12)
    metrics.sessions.number = 7
    for call in get_args(StoreCall):
        metrics.store_calls.took(call, 0.001)
    for call in get_args(ProviderCall):
        with metrics.provider_call(call):
            pass
    metrics.session_ended("logout")
    metrics.upstream_failed("/api", "timeout")
    metrics.retried("/api")
    metrics.reloaded("keys_file", refused=True)
    metrics.upstream_connections("127.0.0.1:8000").set(1)
    found: Series = {"up": {}, "ALERTS": {"alertname": {ANY_ALERT}, "alertstate": {"firing", "pending"}}}
    for family in text_string_to_metric_families(metrics.render()[0].decode()):
        for sample in family.samples:
            for label, value in sample.labels.items():
                found.setdefault(sample.name, {}).setdefault(label, set()).add(value)
            found.setdefault(sample.name, {})
    serve = [ROOT / "bff" / "serve" / name for name in ("supervisor.py", "settings_reload.py")]
    text = "".join(path.read_text(encoding="utf-8") for path in serve)
    return found | {name: {} for name in re.findall(r'metric\(\s*"(bff_\w+)"', text)}


SERIES = series()


def parts(node: Any) -> Iterator[Any]:
    """The node of an expression and all that are in it."""
    yield node
    for name in ("expr", "lhs", "rhs", "vector_selector", "param"):
        inner = getattr(node, name, None)
        if inner is not None:
            yield from parts(inner)
    for inner in getattr(node, "args", None) or ():
        yield from parts(inner)


def grouped(expression: str) -> set[str]:
    """The labels that an expression groups by."""
    return {label.strip() for by in re.findall(r"\bby \(([^)]*)\)", expression) for label in by.split(",")}


def asked(expression: str) -> list[tuple[str, list[Any]]]:
    """The series that an expression asks for, each with its matchers."""
    tree = promql_parser.parse(expression.replace("$__rate_interval", "1m"))
    return [
        (node.name or "", node.matchers.matchers)
        for node in parts(tree)
        if isinstance(node, promql_parser.VectorSelector)
    ]


EXPRESSIONS = [
    *(pytest.param(rule["expr"], id=rule["alert"]) for rule in RULES),
    *(
        pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
        for panel in PANELS
        for target in panel["targets"]
    ),
    *(
        pytest.param(
            re.sub(r"^label_values\((.*), \w+\)$", r"\1", each["query"]["query"]),
            id=each["name"],
        )
        for each in DASHBOARD["templating"]["list"]
        if each["type"] == "query"
    ),
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_it_asks_for_what_there_is(expression: str) -> None:
    """Each series is exported under that name, with these labels and values."""
    found = asked(expression)
    assert found
    for name, matchers in found:
        assert name in SERIES
        for matcher in matchers:
            if matcher.name in TARGETS:
                continue
            values = SERIES[name][matcher.name]
            for value in matcher.value.split("|"):
                assert value in values
    labels = {label for name, _ in found for label in SERIES[name]}
    assert grouped(expression) <= labels | {*TARGETS}


def test_every_series_is_on_the_dashboard() -> None:
    """What is counted can be seen, but for what a name beside it tells already."""
    shown = {name for panel in PANELS for target in panel["targets"] for name, _ in asked(target["expr"])}
    told = re.compile(r"bff_(process_(virtual|start|max)\w*|refresh_(requests|lock_wait)\w*|\w+_(sum|count))")
    assert set() == {name for name in SERIES if not told.fullmatch(name)} - shown


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_event_streams_do_not_count_as_slow(expression: str) -> None:
    """They last as long as their pages: a percentile with them is always too high."""
    for name, matchers in asked(expression):
        if name.startswith("bff_request_duration_seconds"):
            left_out = [matcher.value for matcher in matchers if str(matcher.op) == "MatchOp.NotEqual"]
            assert EVENTS in left_out


def test_every_alert_has_a_name_that_the_dashboard_shows() -> None:
    """It asks for those that begin so."""
    assert [] == [rule["alert"] for rule in RULES if not re.fullmatch(ANY_ALERT, rule["alert"])]


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    """It uses labels that its expression leaves, and names log events and settings that there are."""
    assert {"summary", "action"} == set(rule["annotations"])
    assert rule["labels"]["severity"] in {"page", "ticket"}
    text = " ".join(rule["annotations"].values())
    left = grouped(rule["expr"]) or {
        *TARGETS,
        *(label for name, _ in asked(rule["expr"]) for label in SERIES[name]),
    }
    assert set(re.findall(r"\$labels\.(\w+)", text)) <= left
    events = re.findall(r"event (\w+)", text)
    metrics = re.findall(r"\b(bff_\w+)", text)
    settings = re.findall(r"\b(?:session|limits|log)\.(\w+)", text)
    assert [] == [event for event in events if f'"{event}"' not in PRODUCT]
    assert [] == [metric for metric in metrics if not any(name.startswith(metric) for name in SERIES)]
    assert [] == [setting for setting in settings if f"    {setting}: " not in PRODUCT]


def test_the_panels_stand_apart() -> None:
    """No two overlap, and each has a number of its own."""
    taken = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(taken) == len(set(taken))
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))
