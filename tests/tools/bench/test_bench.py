"""The bench's own reckoning: what it reads from wrk, its medians and ratios, and the promises."""

import contextlib
import io
import json
import os
import socket
import threading
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from rich.console import Console

from tests.tools.bench.__main__ import main
from tests.tools.bench.contenders import contenders
from tests.tools.bench.figures import Finding, added_latency, ratio, rows, spread
from tests.tools.bench.load import Figures, LoadError, Request, check_answer, lua_string, parse, script_for
from tests.tools.bench.machine import cores, group_cpu, peak_memory, resident_memory
from tests.tools.bench.peers import Pace
from tests.tools.bench.promises import COSTS, LATENCY, PROMISES, held
from tests.tools.bench.report import Report, show
from tests.tools.bench.rounds import WORKLOADS, in_turn
from tests.tools.bench.scenarios import scenarios
from tests.tools.bench.stages import Stage

SAID = (
    "Running 1s test\n  Requests/sec: 1\n"
    '@{"requests":1000,"microseconds":2000000,"bytes":300000,"failed":1,"timeouts":2,"refused":10,'
    '"p50":1500.0,"p90":2500.0,"p99":9000.0,"max":20000.0}\n'
)


def run(rate: float, p50: float = 1.0, refused: int = 0) -> Figures:
    return Figures(int(rate), 1.0, int(rate) * 100, 0, refused, p50, p50, p50, p50)


def busy(rate: float) -> Figures:
    """A run that kept its core busy."""
    return replace(run(rate), cpu=1.0)


def test_what_wrk_says_is_read() -> None:
    """Good answers a second, latencies in milliseconds; failures and timeouts together."""
    figures = parse(SAID)
    assert (495.0, 3, 10) == (figures.rate, figures.failed, figures.refused)
    assert (1.5, 2.5, 9.0, 20.0) == (figures.p50, figures.p90, figures.p99, figures.max)


def test_a_run_that_says_nothing_is_no_run() -> None:
    """Without the script's line nothing is guessed."""
    with pytest.raises(LoadError, match="unable to connect"):
        parse("unable to connect to 127.0.0.1")


def test_short_answers_are_noticed() -> None:
    """A redirect counts as success for wrk; its missing bytes show it."""
    figures = parse(SAID)
    assert [True, False] == [figures.whole(b"x" * 300), figures.whole(b"x" * 310)]


def test_a_request_is_written_for_lua() -> None:
    """Any bytes survive as a Lua literal."""
    assert '"\\000\\034\\097\\255"' == lua_string(b'\x00"a\xff')
    assert 'wrk.method = "POST"\nwrk.body = "\\104\\105"' == script_for(Request("POST", "/", b"", b"hi"))


@pytest.mark.parametrize(
    ("sent", "good"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong", False),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 4\r\n\r\nfine", False),
        (b"", False),
    ],
)
def test_only_a_200_with_the_right_body_counts(sent: bytes, good: bool) -> None:
    """Anything else stops a contender's run."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with listener.accept()[0] as client:
                client.recv(1000)
                client.sendall(sent)

        thread = threading.Thread(target=answer)
        thread.start()
        request = Request("GET", "/", b"fine")
        with contextlib.nullcontext() if good else pytest.raises(LoadError):
            check_answer(listener.getsockname()[1], request, {"Host": "x"})
        thread.join()


def test_ratios_are_those_within_a_round() -> None:
    """A machine that is slow for a round slows both sides; a failed run is left out, on both sides."""
    runs: dict[tuple[str, str], list[Figures | None]] = {
        ("json-32", "bff"): [run(50), run(500), None],
        ("json-32", "uvicorn"): [run(100), run(1000), run(1)],
    }
    assert 0.5 == ratio(runs, "json-32", "bff", "uvicorn")
    assert None is ratio(runs, "json-32", "bff", "nginx")
    (ours, uvicorn) = rows(runs)
    assert (275, {"uvicorn": 0.5}) == (ours.rate, ours.ratios)
    assert (100, {}) == (uvicorn.rate, uvicorn.ratios)
    assert 0.1 == pytest.approx(spread([90, 100, 110]))


def test_added_latency() -> None:
    """The added latency is the contender's median less that of a direct call in the same round."""
    runs = {
        ("json-1", "direct"): [run(1, 0.5), run(1, 5.0)],
        ("json-1", "nginx"): [run(1, 0.6), run(1, 5.1)],
        ("json-1", "bff"): [run(1, 0.7), run(1, 5.2)],
    }
    assert 0.2 == pytest.approx(added_latency(runs, "json-1", "bff"))
    (finding,) = held(runs)
    assert ("2.00", False) == (finding.found, finding.kept)


def test_promises_are_held_against_a_run() -> None:
    """A promise is judged only where both sides ran, by its own bound."""
    runs = {
        ("json-32", "bff"): [run(60)],
        ("json-32", "uvicorn"): [run(100)],
        ("json-32", "envoy"): [run(61)],
    }
    found = {finding.what: (finding.found, finding.kept) for finding in held(runs)}
    assert {
        "bff by uvicorn, json-32": ("0.60", True),
        "bff by envoy, json-32": ("0.98", False),
    } == found


def test_costs_are_compared_within_a_round() -> None:
    """CPU time for a request, of two contenders or of two loads; the median of the rounds' ratios."""
    runs: dict[tuple[str, str], list[Figures | None]] = {
        ("mixed", "bff"): [busy(200), busy(100), busy(100)],
        ("mixed", "envoy"): [busy(100), busy(90), busy(70)],
        ("repeat", "bff"): [busy(400), None, busy(100)],
    }
    found = {finding.what: (finding.found, finding.kept) for finding in held(runs)}
    assert {
        "CPU of bff (mixed) by envoy (mixed)": ("0.70", True),
        "CPU of bff (mixed) by bff (repeat)": ("1.50", True),
    } == found
    runs["mixed", "bff"] = [busy(100)]
    assert [False, False] == [finding.kept for finding in held(runs)]


def test_what_fills_the_cache_comes_behind_all_rounds() -> None:
    """Each round of a load whose users it holds finds it as the first one did."""
    names = ("mixed", "mixed-cold", "repeat")
    turns = in_turn([workload for workload in WORKLOADS if workload.name in names], 2)
    first = [(number, name) for number in (1, 2) for name in ("mixed", "repeat")]
    assert [*first, (1, "mixed-cold"), (2, "mixed-cold")] == [(at, each.name) for at, each in turns]


def test_names_are_known_and_differ() -> None:
    """Every name can be asked for, and each promise names contenders and loads that there are."""
    everyone = [contender.name for contender in contenders()]
    loads = [workload.name for workload in WORKLOADS]
    names = [*everyone, *loads, *(scenario.name for scenario in scenarios())]
    assert len(names) == len(set(names))
    assert {name for promise in PROMISES for name in (promise.one, promise.other)} <= set(everyone)
    assert {promise.workload for promise in PROMISES} <= set(loads)
    assert {name for name, _ in LATENCY} <= set(everyone)
    sides = {side for cost in COSTS for side in (cost.one, cost.other)}
    assert {workload for workload, _ in sides} <= set(loads)
    assert {contender for _, contender in sides} <= set(everyone)


def test_the_report_shows_and_writes_everything(tmp_path: Path) -> None:
    """Tables for people and JSON for programs hold the same."""
    runs = {("json-32", "bff"): [run(20_000)], ("json-32", "uvicorn"): [run(30_000, refused=3)]}
    report = Report({"cpu": "a fast one"}, {"rounds": 1}, rows(runs), held(runs))
    report.findings.append(Finding("events", "memory [of each]", "13 KiB", "under 60 KiB", kept=True))
    report.stages.append(Stage("route", "find the route", 1.5, 0.02))
    report.problems.append("naive: no answer [at all]")
    text = io.StringIO()
    show(report, Console(file=text, width=140))
    wanted = ("a fast one", "20,000", "0.67", "13 KiB", "memory [of each]", "kept", "1.50", "[at all]")
    assert [] == [shown for shown in wanted if shown not in text.getvalue()]
    report.write(tmp_path / "bench.json")
    assert json.loads(json.dumps(asdict(report))) == json.loads((tmp_path / "bench.json").read_text())


def test_contender_and_rest_share_no_core() -> None:
    """With two cores or more one is the contender's alone; with one the bench says so."""
    assert (frozenset({3}), frozenset({0, 2}), True) == (
        cores(frozenset({0, 2, 3})).contender,
        cores(frozenset({0, 2, 3})).rest,
        cores(frozenset({0, 2, 3})).apart,
    )
    assert not cores(frozenset({1})).apart


def test_a_process_is_measured() -> None:
    """Memory and CPU time are read of a real process: this one."""
    assert peak_memory(os.getpid()) >= resident_memory(os.getpid()) * 0.9 > 1_000_000
    assert group_cpu(os.getpgrp()) > 0


def test_a_pace_without_limit_never_waits() -> None:
    """Rate 0 is full speed."""
    pace = Pace(0)
    for _ in range(1000):
        pace.count(10**12)


def test_the_command_lists_and_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    """`--list` names everything; a wrong name is a usage error that says how to find the right one."""
    assert 0 == main(["--list"])
    listed = capsys.readouterr().out
    assert all(contender.name in listed for contender in contenders())
    assert 2 == main(["--only", "ngnix"])
    assert "--list" in capsys.readouterr().err
