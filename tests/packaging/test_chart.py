"""`config/helm`: the chart as Helm renders it, held against the schemas of Kubernetes and our settings."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from bff.settings.load import load
from tests.structure.source import ROOT
from tests.support.settings import KEY

helm = pytest.importorskip("helm_python", reason="no wheel of Helm for this machine")
CHART = ROOT / "config" / "helm"
COLLECTOR = {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector:4318"}
EVERYTHING = {
    "env": [COLLECTOR],
    "podAnnotations": {"a": "b"},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "k", "operator": "Exists"}],
    "networkPolicy": {"ingress": [{"podSelector": {}}], "monitoring": [{"podSelector": {}}]},
}
LEAST = {"autoscaling": {"enabled": False}, "networkPolicy": {"enabled": False}}


def rendered(values: dict[str, Any] | None = None) -> dict[tuple[str, str], Any]:
    """The objects of a release "shop", by kind and name."""
    with helm.Chart.load(str(CHART)) as chart:
        texts = chart.render(values or {}, name="shop", namespace="web")
    every = [one for text in texts.values() for one in yaml.safe_load_all(text) if one]
    return {(one["kind"], one["metadata"]["name"]): one for one in every}


@pytest.mark.parametrize("values", [{}, EVERYTHING, LEAST], ids=["default", "everything", "least"])
def test_every_object_keeps_to_its_schema(values: dict[str, Any]) -> None:
    """As kubeconform would look, strictly: an unknown field is refused."""
    for one in rendered(values).values():
        kubernetes_validate.validate(one, "1.31", strict=True)


def test_further_variables_are_the_containers() -> None:
    """As of OpenTelemetry."""
    (container,) = rendered(EVERYTHING)["Deployment", "shop-bff"]["spec"]["template"]["spec"]["containers"]
    assert COLLECTOR == container["env"][-1]


def test_helm_finds_nothing_to_complain_of() -> None:
    """`helm lint`."""
    report = helm.lint(str(CHART))
    assert [] == [one for one in report["messages"] if one["severity"] > 1]


def test_what_an_operator_counts_on() -> None:
    """Rolling update without a gap, probes on the ops port, no root, and nothing but the page in reach."""
    objects = rendered()
    kinds = {kind for kind, _ in objects}
    assert {"PodDisruptionBudget", "HorizontalPodAutoscaler", "NetworkPolicy"} <= kinds
    deployment = objects["Deployment", "shop-bff"]["spec"]
    assert {"maxUnavailable": 0, "maxSurge": 1} == deployment["strategy"]["rollingUpdate"]
    assert "replicas" not in deployment
    (container,) = deployment["template"]["spec"]["containers"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert "ops" == container[probe]["httpGet"]["port"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert [{"port": "http"}] == objects["NetworkPolicy", "shop-bff"]["spec"]["ingress"][0]["ports"]
    assert 1 == len(objects["NetworkPolicy", "shop-bff"]["spec"]["ingress"])


def test_the_proxy_takes_the_settings(tmp_path: Path) -> None:
    """The file of the ConfigMap and the variables of the container are settings that there are."""
    objects = rendered()
    file = tmp_path / "bff.toml"
    file.write_text(objects["ConfigMap", "shop-bff"]["data"]["bff.toml"])
    (container,) = objects["Deployment", "shop-bff"]["spec"]["template"]["spec"]["containers"]
    (tmp_path / "keys").write_text(KEY)
    (tmp_path / "client-secret").write_text("a-secret-of-the-tests")
    for name in ("keys", "client-secret"):
        (tmp_path / name).chmod(0o600)
    values = {one["name"]: one.get("value", "redis://redis:6379/0") for one in container["env"]}
    variables = {key: text.replace("/run/secrets/bff", str(tmp_path)) for key, text in values.items()}
    assert "10.0.0.0/8" in str(load(file, variables).server.trusted_proxies)
