"""The ratios that this project promises, compared with a run. Pure."""

from dataclasses import dataclass

from tests.tools.bench.figures import Finding, Runs, added_latency, cost_ratio, ratio

_PART = "load"


@dataclass(frozen=True, slots=True)
class Promise:
    """`one` answers at least `least` times as many requests as `other`."""

    one: str
    other: str
    workload: str
    least: float


PROMISES = (
    Promise("bff", "naive", "json-32", 40),
    Promise("bff", "apache-oidc", "json-32", 4),
    Promise("bff", "uvicorn", "json-32", 0.60),
    Promise("bff", "envoy-oauth2", "json-32", 1.6),
    Promise("bff", "envoy", "json-32", 1.0),
    Promise("bff-uncached", "uvicorn", "json-32", 0.25),
    Promise("bff", "uvicorn", "json-256", 0.60),
    Promise("bff-100-frontends", "bff", "mixed", 0.95),
)


@dataclass(frozen=True, slots=True)
class CostPromise:
    """A request of one `(workload, contender)` takes at most `most` times the CPU time of the other's."""

    one: tuple[str, str]
    other: tuple[str, str]
    most: float


COSTS = (
    CostPromise(("mixed", "bff"), ("mixed", "envoy-oauth2"), 0.5),
    CostPromise(("mixed", "bff"), ("mixed", "envoy"), 0.8),
    CostPromise(("mixed", "bff"), ("repeat", "bff"), 1.5),
    CostPromise(("behind-nginx", "bff"), ("mixed", "bff"), 1.1),
    CostPromise(("as-forwarded", "bff"), ("mixed", "bff"), 1.1),
    CostPromise(("mixed-cold", "bff"), ("mixed-cold", "envoy-oauth2"), 1.0),
    CostPromise(("mixed", "bff-small-cache"), ("mixed", "bff"), 2.5),
)
LATENCY = (("bff", 1.5),)
"""At most so many times what nginx adds to a direct call's median latency, on one connection."""


def held(runs: Runs) -> list[Finding]:
    """Every promise for which this run has both sides."""
    findings = []
    for promise in PROMISES:
        found = ratio(runs, promise.workload, promise.one, promise.other)
        if found is not None:
            what = f"{promise.one} by {promise.other}, {promise.workload}"
            wanted = f"at least {promise.least:g}"
            findings.append(Finding(_PART, what, f"{found:.2f}", wanted, found >= promise.least))
    for cost in COSTS:
        found = cost_ratio(runs, cost.one, cost.other)
        if found is not None:
            what = f"CPU of {_named(cost.one)} by {_named(cost.other)}"
            wanted = f"at most {cost.most:g}"
            findings.append(Finding(_PART, what, f"{found:.2f}", wanted, found <= cost.most))
    nginx = added_latency(runs, "json-1", "nginx")
    for name, most in LATENCY:
        ours = added_latency(runs, "json-1", name)
        if ours is not None and nginx is not None and nginx > 0:
            what = f"{name}: median latency added, by what nginx adds ({nginx * 1000:.0f} µs), json-1"
            wanted = f"at most {most:g}"
            findings.append(Finding(_PART, what, f"{ours / nginx:.2f}", wanted, ours / nginx <= most))
    return findings


def _named(run: tuple[str, str]) -> str:
    workload, contender = run
    return f"{contender} ({workload})"
