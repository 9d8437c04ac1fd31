"""The drawing of panels, on paper."""

import math
from typing import Any

import pytest

from tests.tools.dashboard.draw import Line, formatted, legend, panel, ticks

YES_NO: list[Any] = [
    {"options": {"0": {"text": "no", "color": "red"}, "1": {"text": "yes", "color": "green"}}}
]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.00012, "s", "120 µs"),
        (0.25, "s", "250 ms"),
        (90, "s", "1.5 min"),
        (2048, "bytes", "2 KiB"),
        (0.0321, "percentunit", "3.21%"),
        (12_300, "reqps", "12.3K req/s"),
        (1, "bool", "True"),
        (0, "short", "0"),
    ],
)
def test_a_value_has_a_unit(value: float, unit: str, text: str) -> None:
    """As Grafana writes it."""
    assert text == formatted(value, unit)


def test_an_axis_has_round_values() -> None:
    """The highest value lies on it."""
    assert [0, 25, 50, 75, 100] == ticks(87)
    assert [0, 1] == ticks(0) == ticks(math.inf)


def test_a_series_is_named_by_its_labels() -> None:
    """As `legendFormat` says."""
    assert "/api: 5xx" == legend("{{route}}: {{status}}", {"route": "/api", "status": "5xx"})
    assert "default : failed" == legend("default {{provider}} : {{outcome}}", {"outcome": "failed"})


def spec(kind: str, **defaults: Any) -> dict[str, Any]:
    place = {"x": 0, "y": 0, "w": 6, "h": 7}
    return {"type": kind, "title": "<T>", "gridPos": place, "fieldConfig": {"defaults": defaults}}


def test_a_panel_without_data_says_so() -> None:
    """A graph, a number and a timeline alike."""
    for kind in ("timeseries", "stat", "state-timeline"):
        assert "No data" in panel(spec(kind), [], (0, 60))


def test_a_line_is_broken_where_values_are_missing() -> None:
    """And what comes from outside is text."""
    line = Line("<a>", [(0, 1), (1, math.nan), (2, 3), (59, 4)])
    drawn = panel(spec("timeseries", unit="s"), [line], (0, 60))
    assert 3 == drawn.count("<polyline")
    assert "&lt;a&gt;" in drawn
    assert "&lt;T&gt;" in drawn


def test_states_have_their_colours() -> None:
    """By the panel's mappings."""
    drawn = panel(spec("state-timeline", mappings=YES_NO), [Line("one", [(0, 1), (30, 0)])], (0, 60))
    assert 1 == drawn.count("#f2495c")
    assert 1 == drawn.count("#73bf69")
    assert "yes" in panel(spec("stat", mappings=YES_NO), [Line("", [(0, 1)])], (0, 60))
