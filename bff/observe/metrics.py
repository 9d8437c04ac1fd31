"""The metrics of a process, for Prometheus.

Rule 1: no globals: a `Metrics` has a registry of its own, and is handed on as an argument. Audit events alone
are counted by their process, as the log is the process's.
Rule 2: a label never holds a stranger's choice: no raw path, method, session or address. Should a caller
break this, the number of series is capped all the same.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Final, Literal, Self

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics import exposition
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from bff import __version__
from bff.errors import Problem
from bff.observe.dependency_metrics import ProviderCall, provider_durations, store_durations
from bff.observe.logs import AUDIT_COUNTS
from bff.observe.metric_series import MAX_SERIES, Series
from bff.observe.provider_names import ProviderNames
from bff.observe.refresh_metrics import RotationMetrics
from bff.observe.request_metrics import Requests, RequestTally

RefreshOutcome = Literal["rotated", "followed", "ended", "deferred"]
RefreshCause = Literal["ahead", "expiry", "unauthorized", "manual"]
LoginOutcome = Literal["started", "signed_in", "failed", "restarted"]

_NAMES: Final = ("frontend", "provider")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REFRESH_SECONDS: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0)


class NearCacheCounts(Collector):
    """The near cache's counts, as plain numbers: a hit must not cost more to count than to answer."""

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0
        self.bypasses = 0
        self.invalidations = 0
        self.evictions = 0
        self.entries = 0
        self.bytes = 0

    def collect(self) -> Iterable[Metric]:
        """The numbers as metrics."""
        lookups = CounterMetricFamily(
            "bff_near_cache_lookups",
            "Look-ups in the near cache; those made while it was not to be trusted are bypasses.",
            labels=["outcome"],
        )
        for outcome, number in (("hit", self.hits), ("miss", self.misses), ("bypass", self.bypasses)):
            lookups.add_metric([outcome], number)
        yield lookups
        yield CounterMetricFamily(
            "bff_near_cache_invalidations", "Changes in Redis that it was told of.", value=self.invalidations
        )
        yield CounterMetricFamily(
            "bff_near_cache_evictions", "Sessions that made room for others.", value=self.evictions
        )
        yield GaugeMetricFamily("bff_near_cache_entries", "Sessions it holds now.", value=self.entries)
        yield GaugeMetricFamily("bff_near_cache_bytes", "Memory that they take.", value=self.bytes)


class LiveSessions(Collector):
    """The number of sessions in Redis, which one process of a deployment counts now and then.

    Attributes:
        number: as of the last count; None in the other processes, which export nothing.
    """

    number: int | None = None

    def collect(self) -> Iterable[Metric]:
        """The number as a metric."""
        family = GaugeMetricFamily("bff_sessions", "Sessions that live, as they were counted last.")
        if self.number is not None:
            family.add_metric([], self.number)
        yield family


class Metrics:
    """The metrics of one process.

    A frontend with a name is a label, and so is a provider where there are several (`at`).
    """

    _frontend = _provider = ""

    def __init__(self) -> None:
        self.registry = _Registry()
        self.exemplars = False  # some samples name a trace
        registry = self.registry
        Gauge("bff_info", "The version that runs.", ["version"], registry=registry).labels(__version__).set(1)
        ProcessCollector(namespace="bff", registry=registry)

        def counter(name: str, text: str, *labels: str) -> Series[Counter]:
            return Series(Counter(name, text, labels, registry=registry), of_each="frontend" in labels)

        self._requests = RequestTally(MAX_SERIES)
        registry.register(self._requests)
        self.store_calls, self._provider_calls = store_durations(), provider_durations()
        registry.register(self.store_calls)
        registry.register(self._provider_calls)
        self._refreshes = counter(
            "bff_refreshes", "Token rotations, by outcome and cause.", "provider", "outcome", "cause"
        )
        self._refresh_seconds = Histogram(
            "bff_refresh_duration_seconds",
            "How long a rotation took, from its start to the save.",
            buckets=_REFRESH_SECONDS,
            registry=registry,
        )
        self.refresh_waiters = Gauge(
            "bff_refresh_waiters", "Requests that wait for a rotation now.", registry=registry
        )
        self._names = ProviderNames()
        self.rotations = RotationMetrics(registry, self._names)
        self._logins = counter("bff_logins", "Sign-ins, by outcome.", "frontend", "provider", "outcome")
        self._started = counter("bff_sessions_started", "Sessions that began.", "frontend")
        self._ended = counter("bff_sessions_ended", "Sessions that ended, by reason.", "frontend", "reason")
        self._store_errors = Counter("bff_store_errors", "Calls to Redis that failed.", registry=registry)
        self._provider_errors = counter(
            "bff_provider_errors", "Calls to the provider that failed.", "provider", "call"
        )
        self._faults = counter(
            "bff_upstream_faults", "Calls to backends that failed, by kind.", "frontend", "route", "kind"
        )
        self._retries = counter(
            "bff_retries_after_401", "Calls repeated after a backend's 401.", "frontend", "route"
        )
        self._limited = counter(
            "bff_rate_limited", "Acts refused by a limit on how often.", "frontend", "limit"
        )
        self._unchecked = counter(
            "bff_limits_unchecked",
            "Acts let through since Redis did not count them in time.",
            "frontend",
            "limit",
        )
        self._problems = counter("bff_problems", "Error answers of the proxy itself.", "code")
        self._connections = Series(
            Gauge(
                "bff_upstream_connections", "Open connections to backends.", ["upstream"], registry=registry
            )
        )
        self.sessions = LiveSessions()
        registry.register(self.sessions)
        self.websockets = Gauge("bff_websockets", "Open WebSockets.", registry=registry)
        self.event_streams = Gauge("bff_event_streams", "Open streams of /bff/events.", registry=registry)
        registry.register(AUDIT_COUNTS)
        self.near_cache = NearCacheCounts()
        registry.register(self.near_cache)
        self.change_feed_trusted = Gauge(
            "bff_change_feed_trusted",
            "Whether Redis tells this process of changes: 1 or 0.",
            registry=registry,
        )
        self._settings = Gauge(
            "bff_settings_info", "The settings in force, by their hash.", ["hash"], registry=registry
        )
        self._reloads = counter(
            "bff_settings_reloads", "Changes of files that settings name, by outcome.", "setting", "outcome"
        )
        self._refused_files = Gauge(
            "bff_settings_files_refused",
            "Files whose last change is not in force, because it cannot be used.",
            registry=registry,
        )
        self._prepare()

    def at(self, *, frontend: str | None = None, provider: str | None = None) -> Self:
        """Returns the same metrics, which count for one frontend, or one provider, from there on."""
        return copy(self)._named(  # noqa: SLF001 - a copy of its own
            self._frontend if frontend is None else frontend,
            self._provider if provider is None else provider,
        )

    def _named(self, frontend: str, provider: str) -> Self:
        self._frontend, self._provider = frontend, provider
        self.rotations = self.rotations.of(provider)
        self._prepare_frontend()
        return self

    def name_providers(self, names: Sequence[str]) -> None:
        """Takes the names of all providers; series tell them apart where there are several."""
        self._names.take(names)
        self._prepare_providers()

    def _prepare(self) -> None:
        self._prepare_providers()
        self._problems.prepare((problem.code,) for problem in Problem)

    def _prepare_providers(self) -> None:
        self._refreshes.prepare(
            (provider, outcome, cause)
            for provider in self._names.labels()
            for outcome in ("rotated", "followed", "ended", "deferred")
            for cause in ("ahead", "expiry", "unauthorized", "manual")
        )
        self._provider_errors.prepare(
            (provider, call)
            for provider in self._names.labels()
            for call in ("discovery", "jwks", "token", "refresh", "revocation")
        )
        self.rotations.prepare()
        self._prepare_frontend()

    def _prepare_frontend(self) -> None:
        self._started.prepare([(self._frontend,)])
        self._logins.prepare(
            (self._frontend, provider, outcome)
            for provider in self._names.labels()
            for outcome in ("started", "signed_in", "failed", "restarted")
        )
        for limits in (self._limited, self._unchecked):
            limits.prepare((self._frontend, limit) for limit in ("login", "callback", "refresh", "address"))

    def request_finished(self, route: str, method: str, status: int, seconds: float) -> None:
        """An answer is complete or broken off.

        Args:
            route: the configured path of the route, or the name of our endpoint; never the request's path.
            method: the request's method; unusual ones count as `other`.
            status: the status that was sent.
            seconds: from the request's first byte to the answer's last.
        """
        self.requests(route, method).add(status, seconds)

    def requests(self, route: str, method: str) -> Requests:
        """The counter of the answers to one method on one route, for callers that count many of them."""
        return self._requests.of(self._frontend, route, method if method in _METHODS else "other")

    def refresh_finished(self, outcome: RefreshOutcome, cause: RefreshCause, seconds: float) -> None:
        """A rotation has ended: tokens rotated, here or by another process; session ended; put off."""
        self._refreshes[self._names.label(self._provider), outcome, cause].inc()
        self._refresh_seconds.observe(seconds)

    def login_finished(self, outcome: LoginOutcome, provider: str = "") -> None:
        """A sign-in was started, came to its end, failed, or was started anew by us."""
        self._logins[self._frontend, self._names.label(provider), outcome].inc()

    def session_started(self) -> None:
        """A session was written."""
        self._started[(self._frontend,)].inc()

    def session_ended(self, reason: str, frontend: str | None = None) -> None:
        """A session ended; `reason` is an `EndReason`, or says how it went without us.

        `frontend` is its own, where that may be another one.
        """
        self._ended[self._frontend if frontend is None else frontend, reason].inc()

    def store_failed(self) -> None:
        """A call to Redis failed."""
        self._store_errors.inc()

    def provider_failed(self, call: ProviderCall) -> None:
        """A call to the provider failed: unreachable, too slow, 5xx, 429 or no valid answer."""
        self._provider_errors[self._names.label(self._provider), call].inc()

    @contextmanager
    def provider_call(self, kind: ProviderCall) -> Iterator[None]:
        """Counts the block as one call to the provider."""
        started = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
            self._provider_calls.took(kind, seconds, self._names.label(self._provider))

    def upstream_failed(self, route: str, kind: str) -> None:
        """A call to a backend failed; `kind` is a `FaultKind`'s value."""
        self._faults[self._frontend, route, kind].inc()

    def retried(self, route: str) -> None:
        """A call was repeated with fresh tokens after a backend's 401."""
        self._retries[self._frontend, route].inc()

    def problem_sent(self, problem: Problem) -> None:
        """The proxy answered with a problem of its own."""
        self._problems[(problem.code,)].inc()

    def rate_limited(self, limit: str) -> None:
        """A limit on how often was reached; `limit` is the name of its quota."""
        self._limited[self._frontend, limit].inc()

    def limit_unchecked(self, limit: str) -> None:
        """A limit that all processes share was not looked at: Redis was out of reach, or slow."""
        self._unchecked[self._frontend, limit].inc()

    def settings_taken(self, digest: str) -> None:
        """Settings of this digest are in force."""
        self._settings.clear()
        self._settings.labels(digest).set(1)

    def files_followed(self, settings: Iterable[str]) -> None:
        """Names the settings whose files are followed: their counters begin at 0."""
        self._reloads.prepare(
            (setting, outcome) for setting in settings for outcome in ("in_force", "refused")
        )

    def reloaded(self, setting: str, *, refused: bool) -> None:
        """A file that a setting names has changed: its new content is in force, or was refused."""
        self._reloads[setting, "refused" if refused else "in_force"].inc()

    def files_refused(self, count: int) -> None:
        """Notes the number of files whose last change is not in force."""
        self._refused_files.set(count)

    def upstream_connections(self, upstream: str) -> Gauge:
        """The gauge of open connections to one backend (`host:port`), to be kept by its pool."""
        return self._connections[(upstream,)]

    def render(self, *, openmetrics: bool = False) -> tuple[bytes, str]:
        """Returns all metrics in Prometheus' text format, and its content type.

        With `openmetrics` in that format, where there are exemplars: the other one has no place for them.
        """
        registry = self.registry
        if openmetrics and self.exemplars:
            page: bytes = exposition.generate_latest(registry)  # type: ignore[no-untyped-call] # it has no types
            return page, exposition.CONTENT_TYPE_LATEST
        return generate_latest(registry), CONTENT_TYPE_LATEST

    def families(self) -> Iterable[Metric]:
        """All metrics as they stand."""
        return self.registry.collect()


class _Registry(CollectorRegistry):
    """A registry whose metrics have no labels that say nothing, and no `_created` series.

    Those double the output and answer no question.
    """

    def collect(self) -> Iterable[Metric]:
        for metric in super().collect():
            metric.samples = [
                _stripped(sample) for sample in metric.samples if not sample.name.endswith("_created")
            ]
            yield metric


def _stripped(sample: Sample) -> Sample:
    """A sample without the names of a frontend and a provider that are none."""
    labels = sample.labels
    if all(labels.get(name) != "" for name in _NAMES):
        return sample
    return sample._replace(labels={key: value for key, value in labels.items() if value or key not in _NAMES})
