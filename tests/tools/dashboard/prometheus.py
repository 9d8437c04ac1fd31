"""A Prometheus of our own: it scrapes a fleet each second, and evaluates the dashboard's expressions."""

import contextlib
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from bff.child import Child
from bff.embedded import free_port
from tests.structure.source import ROOT
from tests.support.wait import until_async
from tests.tools.dashboard.draw import Line, legend

RATE_INTERVAL = "8s"
"""What Grafana would put in place of `$__rate_interval`: four times the interval of the scrapes, at least."""

ALERTS = ROOT / "config" / "monitoring" / "alerts.yaml"


@dataclass(frozen=True)
class Prometheus:
    """One that runs."""

    client: httpx.AsyncClient

    async def lines(self, target: dict[str, Any], span: tuple[float, float], step: float) -> list[Line]:
        """The series of one of a panel's targets."""
        expression = filled_in(target["expr"])
        query: dict[str, str | float] = {"query": expression, "start": span[0], "end": span[1], "step": step}
        answer = (await self.client.get("/api/v1/query_range", params=query)).json()
        if answer["status"] != "success":
            raise RuntimeError(f"{expression}: {answer['error']}")
        return [
            Line(
                legend(target.get("legendFormat", ""), found["metric"]),
                [(float(moment), float(value)) for moment, value in found["values"]],
            )
            for found in answer["data"]["result"]
        ]

    async def alerts(self) -> dict[str, str]:
        """The alerts that fire, or would if they were true for long enough, and their state."""
        answer = (await self.client.get("/api/v1/alerts")).json()
        return {each["labels"]["alertname"]: each["state"] for each in answer["data"]["alerts"]}


def filled_in(expression: str) -> str:
    """An expression with the dashboard's variables as they are at first."""
    return (
        expression.replace("$__rate_interval", RATE_INTERVAL)
        .replace("$__range", "3h")
        .replace("$job", ".+")
        .replace("$instance", ".+")
    )


def find() -> str | None:
    """The path of a Prometheus (Debian's package `prometheus`)."""
    return shutil.which("prometheus")


@contextlib.asynccontextmanager
async def running(targets: Sequence[str], folder: Path) -> AsyncIterator[Prometheus]:
    """Scrapes these, with the alert rules of `config/`."""
    found = find()
    assert found is not None
    port = free_port()
    settings = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(ALERTS)],
        "scrape_configs": [{"job_name": "bff", "static_configs": [{"targets": list(targets)}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    command = [
        *(found, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"),
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    child = Child(command, log=folder / "prometheus.log")
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:

            async def ready() -> bool:
                with contextlib.suppress(httpx.TransportError):
                    return (await client.get("/-/ready")).is_success
                return False

            await until_async(ready)
            yield Prometheus(client)
    finally:
        child.kill()
