"""What is counted, and that it stays bounded."""

import timeit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bff.errors import Problem
from bff.observe.metric_series import MAX_SERIES
from bff.observe.metrics import Metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    body, _ = metrics.render()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return samples(metrics)[name, tuple(sorted(labels.items()))]


def test_requests_are_counted_and_timed() -> None:
    """A request counts by route, method and class of status, and its time by route."""
    metrics = Metrics()
    metrics.request_finished("/api", "GET", 204, 0.004)
    metrics.request_finished("/api", "GET", 200, 3.0)
    metrics.request_finished("/api", "GET", 503, 0.004)
    assert 2.0 == value(metrics, "bff_requests_total", route="/api", method="GET", status="2xx")
    assert 1.0 == value(metrics, "bff_requests_total", route="/api", method="GET", status="5xx")
    assert 3.0 == value(metrics, "bff_request_duration_seconds_count", route="/api")
    assert 2.0 == value(metrics, "bff_request_duration_seconds_bucket", route="/api", le="0.005")


def test_the_parts_of_a_call_are_told_apart() -> None:
    """The backend's time and ours have histograms of their own, fine enough for both."""
    metrics = Metrics()
    requests = metrics.requests("/api", "GET")
    requests.add(200, 0.0031, 0.003, 0.00008)
    requests.add(401, 0.0002, None, 0.0002)
    assert 1.0 == value(metrics, "bff_upstream_duration_seconds_count", route="/api")
    assert 0.0 == value(metrics, "bff_upstream_duration_seconds_bucket", route="/api", le="0.002")
    assert 1.0 == value(metrics, "bff_upstream_duration_seconds_bucket", route="/api", le="0.005")
    assert 1.0 == value(metrics, "bff_own_duration_seconds_bucket", route="/api", le="0.0001")
    assert 2.0 == value(metrics, "bff_own_duration_seconds_bucket", route="/api", le="0.00025")
    assert 1.0 == value(metrics, "bff_request_duration_seconds_bucket", route="/api", le="0.0005")
    requests.add(200, 90.0, 80.0, 20.0)  # beyond all bounds
    for name, inside, sum_ in (("request", 2.0, 90.0033), ("upstream", 1.0, 80.003), ("own", 2.0, 20.00028)):
        assert sum_ == pytest.approx(value(metrics, f"bff_{name}_duration_seconds_sum", route="/api"))
        last = [
            value(metrics, f"bff_{name}_duration_seconds_bucket", route="/api", le=le)
            for le in ("10.0", "+Inf")
        ]
        assert [inside, inside + 1] == last


def test_a_count_goes_on_beyond_small_numbers() -> None:
    """The counts of a route, kept small, are carried to larger ones: none is lost, and none counts twice."""
    metrics = Metrics()
    got, put = metrics.requests("/api", "GET"), metrics.requests("/api", "PUT")
    for number in range(1, 1001):
        got.add(200 if number % 2 else 404, 0.0031, 0.0004, 0.002)
        put.add(204, 0.0004)
        if number % 100 == 0:
            seen = samples(metrics)
            of_api = {
                key[0] + dict(key[1]).get("le", ""): seen[key] for key in seen if ("route", "/api") in key[1]
            }
            assert 2 * number == of_api["bff_request_duration_seconds_count"]
            assert number == of_api["bff_upstream_duration_seconds_bucket0.0005"]
            assert number == of_api["bff_own_duration_seconds_bucket0.002"]
            by_class = [
                value(metrics, "bff_requests_total", route="/api", method=method, status=status)
                for method, status in (("GET", "2xx"), ("GET", "4xx"), ("PUT", "2xx"))
            ]
            assert [number / 2, number / 2, number] == by_class


def test_everything_else_is_counted() -> None:
    """Each event that has a metric moves its metric."""
    metrics = Metrics()
    metrics.refresh_finished("rotated", "expiry", 0.2)
    metrics.refresh_waiters.inc()
    metrics.login_finished("signed_in")
    metrics.session_started()
    metrics.session_ended("logout")
    metrics.store_failed()
    metrics.provider_failed("token")
    metrics.upstream_failed("/api", "timeout")
    metrics.retried("/api")
    metrics.problem_sent(Problem.NO_ROUTE)
    connections = metrics.upstream_connections("orders:8000")
    connections.inc(3)
    connections.dec()
    assert {
        "bff_refreshes_total": 1.0,
        "bff_refresh_duration_seconds_count": 1.0,
        "bff_refresh_waiters": 1.0,
        "bff_logins_total": 1.0,
        "bff_sessions_started_total": 1.0,
        "bff_sessions_ended_total": 1.0,
        "bff_store_errors_total": 1.0,
        "bff_provider_errors_total": 1.0,
        "bff_upstream_faults_total": 1.0,
        "bff_retries_after_401_total": 1.0,
        "bff_problems_total": 1.0,
        "bff_upstream_connections": 2.0,
    } == {
        name: number
        for (name, labels), number in samples(metrics).items()
        if number and not name.startswith(("bff_process", "bff_info", "bff_audit"))
        and "le" not in dict(labels) and not name.endswith("_sum")
    }  # fmt: skip


def test_closed_sets_start_at_zero() -> None:
    """The first event of a kind shows up in a rate, because its series was there before."""
    metrics = Metrics()
    assert 0.0 == value(metrics, "bff_refreshes_total", outcome="deferred", cause="unauthorized")
    assert 0.0 == value(metrics, "bff_problems_total", code="store_unavailable")
    assert 0.0 == value(metrics, "bff_logins_total", outcome="failed")
    assert 0.0 == value(metrics, "bff_provider_errors_total", call="discovery")


def test_two_metrics_share_nothing() -> None:
    """Two applications in one process count apart."""
    first, second = Metrics(), Metrics()
    first.session_started()
    assert 0.0 == value(second, "bff_sessions_started_total")


@pytest.mark.requirement("B-24")
def test_strangers_cannot_choose_a_label() -> None:
    """An invented method or status counts as `other`, and the number of series has an end."""
    metrics = Metrics()
    metrics.request_finished("/api", "X" * 100, 999, 0.1)
    assert 1.0 == value(metrics, "bff_requests_total", route="/api", method="other", status="other")
    for number in range(MAX_SERIES + 100):
        metrics.session_ended(f"reason{number}")
    ended = [labels for name, labels in samples(metrics) if name == "bff_sessions_ended_total"]
    assert MAX_SERIES + 1 == len(ended)
    assert 100.0 == value(metrics, "bff_sessions_ended_total", reason="other")
    for number in range(260):  # frontends that are there, with four series each
        metrics.at(frontend=f"page-{number}").login_finished("failed")
    failed = {"frontend": "page-259", "outcome": "failed"}
    assert 1.0 == metrics.registry.get_sample_value("bff_logins_total", failed)
    for number in range(MAX_SERIES + 100):  # names that somebody wrote into records
        metrics.session_ended("idle", f"invented-{number}")
    (family,) = (each for each in metrics.registry.collect() if each.name == "bff_sessions_ended")
    assert MAX_SERIES + 1 >= len({sample.labels.get("frontend") for sample in family.samples})


@pytest.mark.requirement("P-01")
def test_frontends_and_providers_are_told_apart() -> None:
    """A frontend by its name, a provider where there are several; each with a bound of its own."""
    metrics = Metrics()
    shop, partners = metrics.at(frontend="shop"), metrics.at(provider="partners")

    def count() -> None:
        for each in (metrics, shop):
            each.request_finished("/api", "GET", 200, 0.1)
            each.login_finished("signed_in", "partners")
            each.session_started()
        partners.provider_failed("token")
        partners.refresh_finished("rotated", "ahead", 0.1)
        partners.rotations.circuit_breaker(is_open=True)
        with partners.provider_call("token"):
            pass

    count()
    assert 1.0 == value(metrics, "bff_provider_circuit_open")
    metrics.name_providers(["main", "partners"])
    count()
    request = {"route": "/api", "method": "GET", "status": "2xx"}
    assert 2.0 == value(metrics, "bff_requests_total", **request)
    assert 2.0 == value(metrics, "bff_requests_total", frontend="shop", **request)
    assert 2.0 == value(metrics, "bff_request_duration_seconds_count", frontend="shop", route="/api")
    assert 2.0 == value(metrics, "bff_sessions_started_total", frontend="shop")
    for labels, number in (({}, 1.0), ({"provider": "partners"}, 1.0), ({"provider": "main"}, 0.0)):
        assert number == value(metrics, "bff_logins_total", outcome="signed_in", **labels)
        assert number == value(metrics, "bff_provider_errors_total", call="token", **labels)
        assert number == value(metrics, "bff_refreshes_total", outcome="rotated", cause="ahead", **labels)
    told = {"frontend": "shop", "provider": "partners"}
    assert 1.0 == value(metrics, "bff_logins_total", outcome="signed_in", **told)
    assert 1.0 == value(metrics, "bff_provider_duration_seconds_count", provider="partners", call="token")
    assert [0.0, 1.0] == [
        value(metrics, "bff_provider_circuit_open", provider=name) for name in ("main", "partners")
    ]
    metrics.at(provider="main").rotations.circuit_breaker(is_open=False)
    assert 1.0 == value(metrics, "bff_provider_circuit_open", provider="partners")
    for number in range(MAX_SERIES):
        shop.request_finished(f"/{number}", "GET", 200, 0.1)
    metrics.request_finished("/one-more", "GET", 200, 0.1)
    one_more = request | {"route": "/one-more"}
    assert 1.0 == metrics.registry.get_sample_value("bff_requests_total", one_more)


def test_names_and_form() -> None:
    """All names are ours, `_created` is left out, and the content type is Prometheus' own."""
    metrics = Metrics()
    metrics.request_finished("/api", "GET", 200, 0.1)
    body, content_type = metrics.render()
    names = {name for name, _ in samples(metrics)}
    assert set() == {name for name in names if not name.startswith("bff_")}
    assert set() == {name for name in names if name.endswith("_created")}
    assert content_type.startswith("text/plain; version=")
    assert body.endswith(b"\n")


def test_counting_a_request_is_cheap() -> None:
    """Counting stays far below what a request costs: 10,000 of them in far less than 5 seconds."""
    metrics = Metrics()
    assert 5.0 > timeit.timeit(lambda: metrics.request_finished("/api", "GET", 200, 0.004), number=10_000)


def test_the_near_cache_counts_in_plain_numbers() -> None:
    """Its numbers appear as they are in the moment of the question."""
    metrics = Metrics()
    counts = metrics.near_cache
    counts.hits, counts.misses, counts.bypasses, counts.invalidations, counts.entries = 5, 4, 3, 2, 1
    found = [
        value(metrics, "bff_near_cache_lookups_total", outcome=name) for name in ("hit", "miss", "bypass")
    ]
    assert [5.0, 4.0, 3.0] == found
    assert 2.0 == value(metrics, "bff_near_cache_invalidations_total")
    assert 1.0 == value(metrics, "bff_near_cache_entries")
