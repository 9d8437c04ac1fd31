"""`python3 -m tests.tools.dashboard FOLDER`: lets the story happen, and draws the dashboard to that folder.

Needs a Prometheus (Debian's package `prometheus`), and Chromium for the pictures; two minutes.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from html import escape
from pathlib import Path
from typing import Any

from tests.browser.visit import chromium, find_chromium
from tests.structure.source import ROOT
from tests.tools.dashboard import prometheus
from tests.tools.dashboard.draw import COLUMN, Line, panel, place
from tests.tools.dashboard.story import play, stage

DASHBOARD = ROOT / "config" / "monitoring" / "dashboard.json"
_POINTS = 240
_WIDTH = 24 * COLUMN


async def record(folder: Path) -> tuple[str, list[str]]:
    """The dashboard as a page, and the titles of the panels, or the targets of some, that show nothing."""
    panels: list[dict[str, Any]] = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    async with stage(folder) as played, prometheus.running([played.ops], folder) as watching:
        began = time.time()
        scenes = await play(played)
        span = (began, time.time())
        shown: list[tuple[dict[str, Any], list[Line]]] = []
        empty: list[str] = []
        for spec in panels:
            lines: list[Line] = []
            for target in spec.get("targets", ()):
                found = await watching.lines(target, span, (span[1] - span[0]) / _POINTS)
                lines += found
                if not found:
                    empty.append(f"{spec['title']}: {target['expr']}")
            shown.append((spec, lines))
        alerts = await watching.alerts()
    head = ", ".join(f"{name} at {moment:.0f} s" for name, moment in scenes)
    told = ", ".join(f"{name} ({state})" for name, state in sorted(alerts.items()))
    return page(shown, span, f"{head}. Alerts at the end: {told or 'none'}"), empty


def page(shown: list[tuple[dict[str, Any], list[Line]]], span: tuple[float, float], head: str) -> str:
    """All panels in their places."""
    parts = [f"<p>{escape(head)}</p><main>"]
    height = 0
    for spec, lines in shown:
        left, top, wide, high = place(spec["gridPos"])
        height = max(height, top + high)
        style = f"left:{left}px;top:{top}px;width:{wide}px;height:{high}px"
        inner = f"<h2>{escape(spec['title'])}</h2>" if spec["type"] == "row" else panel(spec, lines, span)
        parts.append(f'<div style="{style}">{inner}</div>')
    style = (
        "body{background:#111217;color:#ccccdc;font:12px sans-serif;margin:8px}div{position:absolute}"
        f"main{{position:relative;display:block;width:{_WIDTH}px;height:{height}px}}h2{{font-size:15px;margin:4px}}"
    )
    return f'<!doctype html><meta charset="utf-8"><style>{style}</style>{"".join(parts)}</main>'


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.tools.dashboard", description=__doc__)
    parser.add_argument("folder", type=Path, help="where dashboard.html and dashboard.png go")
    target: Path = parser.parse_args().folder
    target.mkdir(exist_ok=True, parents=True)
    if prometheus.find() is None:
        sys.stderr.write("no prometheus\n")
        return 1
    with tempfile.TemporaryDirectory(prefix="bff-dashboard-") as folder:
        text, empty = asyncio.run(record(Path(folder)))
    written = target / "dashboard.html"
    written.write_text(text, encoding="utf-8")
    for line in empty:
        sys.stdout.write(f"empty: {line}\n")
    executable = find_chromium()
    if executable is not None:
        with chromium(executable) as browser:
            shot = browser.new_page(viewport={"width": _WIDTH + 16, "height": 900})
            shot.goto(written.resolve().as_uri())
            shot.screenshot(path=target / "dashboard.png", full_page=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
