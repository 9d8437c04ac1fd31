"""`config/monitoring/alerts.test.yaml`, which `.ci/run` has Prometheus' own tool try, has all alerts."""

from typing import Any

import yaml

from tests.structure.source import ROOT

MONITORING = ROOT / "config" / "monitoring"


def loaded(name: str) -> Any:
    return yaml.safe_load((MONITORING / name).read_text(encoding="utf-8"))


def test_every_alert_has_its_case() -> None:
    """A case by its name, which sees it quiet first and firing later."""
    cases = {case["name"]: case["promql_expr_test"] for case in loaded("alerts.test.yaml")["tests"]}
    for group in loaded("alerts.yaml")["groups"]:
        for name in (rule["alert"] for rule in group["rules"]):
            before, behind, *_ = cases[name]
            assert [] == before["exp_samples"]
            assert [{"labels": f'{{alertname="{name}"}}', "value": 1}] == behind["exp_samples"]
