"""What several workers say, on one page; and how long their replacements wait."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bff.observe.metrics import Metrics
from bff.serve.aggregation import Check, merged, metric, readiness_of
from bff.serve.supervisor import pause_before_replacing

WRITABLE = {"name": "redis", "ok": True, "detail": "writable", "needed": True}
DOWN = {"name": "redis", "ok": False, "detail": "down", "needed": True}
AWAY = {"name": "provider", "ok": False, "detail": "away", "needed": False}


def page(requests: int) -> str:
    metrics = Metrics()
    for _ in range(requests):
        metrics.request_finished('/a "{b} c', "GET", 200, 0.1)
    return metrics.render()[0].decode()


def test_every_sample_says_whose_it_is() -> None:
    """Counters are told apart by worker, and nothing of what a page says is lost."""
    text = merged(metric("bff_workers", "gauge", "Workers that serve.", 2), {1: page(3), 7: page(1)})
    families = {family.name: family for family in text_string_to_metric_families(text)}
    counted = {
        sample.labels["worker"]: (sample.labels["route"], sample.value)
        for sample in families["bff_requests"].samples
    }
    assert {"1": ('/a "{b} c', 3.0), "7": ('/a "{b} c', 1.0)} == counted
    assert [({}, 2.0)] == [(sample.labels, sample.value) for sample in families["bff_workers"].samples]
    assert 2 * page(1).count("\nbff_request_duration_seconds_bucket") == text.count(
        "\nbff_request_duration_seconds_bucket"
    )


def test_each_metric_is_described_once() -> None:
    """No metric's description or type is repeated, though one worker has samples and another has none."""
    lines = [line for line in merged("", {1: page(0), 2: page(1)}).splitlines() if line.startswith("# ")]
    assert len(set(lines)) == len(lines)
    assert sum(line.startswith("# TYPE bff_requests_total ") for line in lines) == 1


def test_a_family_stands_together() -> None:
    """All samples of a metric follow its description, as the format demands."""
    families = list(text_string_to_metric_families(merged("", {1: page(1), 2: page(1)})))
    names = [family.name for family in families]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("answers", "checks"),
    [
        ({}, [Check("workers", ok=False, detail="0 of 2 serve")]),
        (
            {1: [WRITABLE]},  # the other one is being replaced
            [Check("workers", ok=True, detail="1 of 2 serve"), Check("redis", ok=True, detail="writable")],
        ),
        (
            {1: [DOWN], 2: [WRITABLE]},
            [Check("workers", ok=True, detail="2 of 2 serve"), Check("redis", ok=False, detail="down")],
        ),
        (
            {1: [WRITABLE], 2: [DOWN]},
            [Check("workers", ok=True, detail="2 of 2 serve"), Check("redis", ok=False, detail="down")],
        ),
        (
            {1: [AWAY], 2: [AWAY]},
            [
                Check("workers", ok=True, detail="2 of 2 serve"),
                Check("provider", ok=False, detail="away", needed=False),
            ],
        ),
        (
            {1: None, 2: [WRITABLE]},
            [
                Check("workers", ok=True, detail="2 of 2 serve"),
                Check("worker 1", ok=False, detail="does not answer"),
                Check("redis", ok=True, detail="writable"),
            ],
        ),
    ],
)
def test_readiness(answers: dict[int, list[dict[str, object]] | None], checks: list[Check]) -> None:
    """Somebody has to serve, and what one worker finds bad is bad."""
    assert checks == readiness_of(answers, of=2)


def test_pauses() -> None:
    """The first replacement comes at once, later ones later and later, half a minute at most."""
    assert [0, 0.5, 1, 2, 4, 8, 16, 30, 30] == [pause_before_replacing(deaths) for deaths in range(1, 10)]
    assert 30 == pause_before_replacing(10_000)
