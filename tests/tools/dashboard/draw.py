"""Panels as SVG, in the likeness of Grafana's: lines, axes with units, a legend below. Pure."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

Point = tuple[float, float]

COLOURS = (
    *("#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#37872d", "#e0b400"),
    *("#1f60c4", "#fa6400", "#c4162a", "#8f3bb8", "#96d98d", "#ffee52", "#8ab8ff", "#ffb357"),
)
COLUMN, ROW, GAP = 76, 30, 8  # pixels of a grid cell, and between two panels
_NAMED = {"green": "#73bf69", "red": "#f2495c", "orange": "#ff9830", "yellow": "#f2cc0c"}
_MINUTE, _MILLISECOND, _KILO = 60, 1e-3, 1000
_SI = ("", "K", "M", "G", "T")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB")
_LEFT, _TOP, _AXIS, _LEGEND_LINE = 62, 30, 20, 17
_CHARACTER = 6.4  # pixels of a legend's letter, about


@dataclass(frozen=True)
class Line:
    """One series: its name in the legend, and its points in the order of time."""

    name: str
    points: Sequence[Point]

    @property
    def last(self) -> float:
        return self.points[-1][1] if self.points else math.nan


def formatted(value: float, unit: str) -> str:
    """A value in one of Grafana's units."""
    match unit:
        case "s":
            return _duration(value)
        case "bytes":
            power = 0 if abs(value) < 1 else min(int(math.log(abs(value), 1024)), len(_BINARY) - 1)
            said = f"{_short(value / 1024**power)} {_BINARY[power]}"
        case "percentunit":
            said = f"{_short(value * 100)}%"
        case "bool":
            said = "True" if value else "False"
        case _:
            said = _prefixed(value) + {"reqps": " req/s", "ops": " ops/s"}.get(unit, "")
    return said


def _duration(seconds: float) -> str:
    """Grafana's unit `s`."""
    size = abs(seconds)
    if size >= _MINUTE:
        return f"{_short(seconds / _MINUTE)} min"
    if size >= 1 or not size:
        return f"{_short(seconds)} s"
    return f"{_short(seconds * 1e3)} ms" if size >= _MILLISECOND else f"{_short(seconds * 1e6)} µs"


def _prefixed(value: float) -> str:
    power = 0 if abs(value) < _KILO else min(int(math.log(abs(value), _KILO)), len(_SI) - 1)
    return f"{_short(value / _KILO**power)}{_SI[power]}"


def _short(value: float) -> str:
    return f"{value:.3g}" if abs(value) < _KILO else f"{value:.0f}"


def legend(template: str, labels: Mapping[str, str]) -> str:
    """A series' name by `legendFormat`; a label that it does not have is nothing."""
    name = re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), template)
    return " ".join(name.split())


def ticks(highest: float, wanted: int = 4) -> list[float]:
    """Round values from 0 up to at least the highest."""
    if highest <= 0 or not math.isfinite(highest):
        return [0.0, 1.0]
    rough = highest / wanted
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    return [number * step for number in range(math.ceil(highest / step - 1e-9) + 1)]


def place(at: Mapping[str, int]) -> tuple[int, int, int, int]:
    """Left, top, width and height in pixels of a panel's place on the grid."""
    return at["x"] * COLUMN, at["y"] * (ROW + GAP), at["w"] * COLUMN - GAP, at["h"] * (ROW + GAP) - GAP


def panel(spec: Mapping[str, Any], lines: Sequence[Line], span: tuple[float, float]) -> str:
    """One panel of kind `timeseries`, `state-timeline` or `stat` as an SVG element of its place's size."""
    _, _, width, height = place(spec["gridPos"])
    defaults = spec.get("fieldConfig", {}).get("defaults", {})
    unit = defaults.get("unit", "short")
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-size="12" '
        f'font-family="sans-serif"><rect width="{width}" height="{height}" fill="#181b1f" rx="2"/>'
        f'<text x="8" y="19" fill="#ccccdc" font-weight="600">{escape(spec["title"])}</text>'
    )
    if spec["type"] == "stat":
        body = _stat(lines, unit, defaults, width, height)
    elif spec["type"] == "state-timeline" and lines:
        body = _states(lines, defaults, span, width, height)
    elif any(line.points for line in lines):
        body = _graph(lines, unit, span, width, height)
    else:
        body = f'<text x="{width / 2}" y="{height / 2}" fill="#8e8e99" text-anchor="middle">No data</text>'
    return f"{head}{body}</svg>"


def _stat(lines: Sequence[Line], unit: str, defaults: Mapping[str, Any], width: int, height: int) -> str:
    shown = [line for line in lines if line.points] or [Line("", ())]
    words = []
    for number, line in enumerate(shown):
        text = _mapped(line.last, unit, defaults)
        left = width * (number + 0.5) / len(shown)
        words.append(
            f'<text x="{left}" y="{height / 2 + 16}" fill="{_colour(line.last, defaults)}" font-size="28" '
            f'text-anchor="middle">{escape(text)}</text>'
        )
        if len(shown) > 1:
            words.append(
                f'<text x="{left}" y="{height - 10}" fill="#ccccdc" text-anchor="middle">'
                f"{escape(line.name)}</text>"
            )
    return "".join(words)


def _states(
    lines: Sequence[Line], defaults: Mapping[str, Any], span: tuple[float, float], width: int, height: int
) -> str:
    """A bar for each series, in the colours of its values' meanings."""
    left = max(len(line.name) for line in lines) * _CHARACTER + 16
    high = min(30.0, (height - _TOP - 8) / len(lines))
    step = (span[1] - span[0]) / 200
    parts = []
    for row, line in enumerate(lines):
        top = _TOP + row * high
        parts.append(
            f'<text x="{left - 8:.0f}" y="{top + high / 2 + 4:.0f}" fill="#ccccdc" font-size="11" '
            f'text-anchor="end">{escape(line.name)}</text>'
        )
        for moment, value in line.points:
            x = left + (moment - span[0]) / (span[1] - span[0]) * (width - left - 10)
            wide = step / (span[1] - span[0]) * (width - left)
            parts.append(
                f'<rect x="{x:.1f}" y="{top + 2:.1f}" width="{wide:.2f}" height="{high - 4:.1f}" '
                f'fill="{_colour(value, defaults)}"/>'
            )
    return "".join(parts)


def _meaning(value: float, defaults: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The entry of a value in the panel's mappings."""
    found = (mapping["options"].get(f"{value:g}") for mapping in defaults.get("mappings", ()))
    return next((each for each in found if each is not None), None)


def _mapped(value: float, unit: str, defaults: Mapping[str, Any]) -> str:
    if (meaning := _meaning(value, defaults)) is not None:
        return str(meaning["text"])
    return "No data" if math.isnan(value) else formatted(value, unit)


def _colour(value: float, defaults: Mapping[str, Any]) -> str:
    if (meaning := _meaning(value, defaults)) is not None:
        return _NAMED.get(meaning["color"], str(meaning["color"]))
    return _threshold(value, defaults)


def _threshold(value: float, defaults: Mapping[str, Any]) -> str:
    colour = "#ccccdc"
    for step in defaults.get("thresholds", {}).get("steps", ()):
        if step["value"] is None or value >= step["value"]:
            colour = _NAMED.get(step["color"], step["color"])
    return colour


def _graph(lines: Sequence[Line], unit: str, span: tuple[float, float], width: int, height: int) -> str:
    rows = _legend_rows([line.name for line in lines], width)
    bottom = height - _AXIS - _LEGEND_LINE * len(rows) - 4
    values = [value for line in lines for _, value in line.points if math.isfinite(value)]
    scale = ticks(max(values, default=0.0))

    def x(moment: float) -> float:
        return _LEFT + (moment - span[0]) / (span[1] - span[0]) * (width - _LEFT - 10)

    def y(value: float) -> float:
        return bottom - value / scale[-1] * (bottom - _TOP - 6)

    parts = [
        f'<path d="M{_LEFT} {y(value):.1f}H{width - 10}" stroke="#2c3035"/>'
        f'<text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" fill="#9fa7b3" font-size="11" text-anchor="end">'
        f"{escape(formatted(value, unit))}</text>"
        for value in scale
    ]
    for number in range(4):
        moment = span[0] + (span[1] - span[0]) * number / 3
        anchor = ("start", "middle", "middle", "end")[number]
        parts.append(
            f'<text x="{x(moment):.1f}" y="{bottom + 15}" fill="#9fa7b3" font-size="11" '
            f'text-anchor="{anchor}">{(moment - span[0]):.0f} s</text>'
        )
    for number, line in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        for run in _runs(line.points, (span[1] - span[0]) / 40):
            drawn = " ".join(f"{x(moment):.1f},{y(value):.1f}" for moment, value in run)
            parts.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    for row, names in enumerate(rows):
        left = 8.0
        for number in names:
            top = height - _LEGEND_LINE * (len(rows) - row) + 8
            parts.append(
                f'<path d="M{left} {top - 4}h12" stroke="{COLOURS[number % len(COLOURS)]}" stroke-width="3"/>'
                f'<text x="{left + 17}" y="{top}" fill="#ccccdc" font-size="11">'
                f"{escape(lines[number].name)}</text>"
            )
            left += 17 + len(lines[number].name) * _CHARACTER + 12
    return "".join(parts)


def _runs(points: Sequence[Point], gap: float) -> list[list[Point]]:
    """The points without a gap between them; a value that is no number is one."""
    runs: list[list[Point]] = [[]]
    for moment, value in points:
        if not math.isfinite(value) or (runs[-1] and moment - runs[-1][-1][0] > gap):
            runs.append([])
        if math.isfinite(value):
            runs[-1].append((moment, value))
    return [run for run in runs if run]


def _legend_rows(names: Sequence[str], width: int) -> list[list[int]]:
    """The numbers of the names on each line of the legend."""
    rows: list[list[int]] = [[]]
    left = 8.0
    for number, name in enumerate(names):
        taken = 17 + len(name) * _CHARACTER + 12
        if rows[-1] and left + taken > width:
            rows.append([])
            left = 8.0
        rows[-1].append(number)
        left += taken
    return rows
