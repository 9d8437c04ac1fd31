"""`operate/on-call.md`, read by somebody who is on call: its commands on a running fleet, and its alerts."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.docs.pages import DOCS, section
from tests.structure.source import ROOT
from tests.support.processes.fleet import running_fleet
from tests.support.processes.forked import BARE
from tests.support.processes.redis import RedisServer
from tests.support.providers.rotating import rotating_provider
from tests.support.wait import until

PAGE = "operate/on-call.md"
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
SAID: dict[str, str] = {
    "readyz": '"status": "ready"',
    "bff check": "redis eviction",
    "bff sessions stats": "1 sessions",
    "bff_problems_total": 'code="upstream_unreachable"',
    '"event": "[a-z_]*"': '"event": "request"',
    '"level"': "upstream_fault",
    '"status"': '"route": "/api"',
    '"session"': '"path": "/api/orders"',
}
"""What each command shows, by what stands in it."""


def commands() -> list[str]:
    """The commands of the page, without their comments."""
    (block,) = BLOCK.findall(section(PAGE, "What it says of itself"))
    return [line.partition("  #")[0].strip() for line in block.splitlines()]


async def test_each_command_shows_what_it_says(redis_server: RedisServer, tmp_path: Path) -> None:
    """On a process that serves, with a backend that is gone."""
    log: dict[str, Any] = {"format": "json", "access": True}
    with rotating_provider() as provider:
        gone = {"upstream": "http://127.0.0.1:1"}
        fleet_of_one = running_fleet(
            redis_server, provider, tmp_path, workers=1, valves=False, route=gone, log=log
        )
        async with fleet_of_one as fleet:
            (worker,) = fleet.workers
            member = await fleet.member()
            assert 502 == (await fleet.call(member, 0)).status
            await until(lambda: bool(worker.lines("request", status=502)))
            (tmp_path / "bff.log").write_text(worker.log())
            path = f"{Path(sys.executable).parent}:{BARE['PATH']}"
            left = dict(SAID)
            for command in commands():
                here = command.replace("9090", str(worker.ops_port)).replace("0cd6f637684b", member.key[:12])
                done = await asyncio.to_thread(
                    subprocess.run,
                    ["sh", "-c", here],
                    env=worker.environ | {"PATH": path},
                    cwd=tmp_path,
                    capture_output=True,
                    text=True,
                    timeout=60,
                    check=False,
                )
                mark = next(word for word in left if word in command)
                assert left.pop(mark) in done.stdout, (command, done.stdout, done.stderr)
            assert {} == left


def test_each_alert_is_explained() -> None:
    """And each explanation is of an alert that there is."""
    groups = yaml.safe_load((ROOT / "config" / "monitoring" / "alerts.yaml").read_text())["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"]}
    rows = [line for line in section(PAGE, "Each alert").splitlines() if line.startswith("| `")]
    assert alerts == {name for row in rows for name in re.findall(r"`(Bff\w+)`", row.split("|")[1])}


def test_a_refusal_of_redis_that_it_names_is_one() -> None:
    """Those that the store is tried with."""
    text = (DOCS / PAGE).read_text(encoding="utf-8")
    tried = (ROOT / "tests" / "contract" / "test_servers_that_refuse.py").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:READ|OOM|MIS|NO)[A-Z]*)`", text))
    assert named
    assert [] == [name for name in named if f'"{name} ' not in tried]
