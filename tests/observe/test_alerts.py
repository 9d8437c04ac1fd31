"""`config/monitoring/alerts.test.yaml`: the alert rules over made series, by Prometheus' own tool."""

import shutil
import subprocess
from typing import Any

import pytest
import yaml

from tests.structure.source import ROOT

MONITORING = ROOT / "config" / "monitoring"
TESTS = MONITORING / "alerts.test.yaml"


def loaded(name: str) -> Any:
    return yaml.safe_load((MONITORING / name).read_text(encoding="utf-8"))


def test_the_alerts_fire_when_they_should() -> None:
    """None of a healthy fleet; each by itself behind its threshold and its time, and not before."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool (apt install prometheus)")
    command = [promtool, "test", "rules", str(TESTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (0, True) == (done.returncode, "SUCCESS" in done.stdout), done.stdout + done.stderr


def test_every_alert_has_its_case() -> None:
    """A case by its name, which sees it quiet first and firing later."""
    cases = {case["name"]: case["promql_expr_test"] for case in loaded("alerts.test.yaml")["tests"]}
    for group in loaded("alerts.yaml")["groups"]:
        for name in (rule["alert"] for rule in group["rules"]):
            before, behind, *_ = cases[name]
            assert [] == before["exp_samples"]
            assert [{"labels": f'{{alertname="{name}"}}', "value": 1}] == behind["exp_samples"]
