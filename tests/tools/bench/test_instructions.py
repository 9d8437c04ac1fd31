"""The counting of calls: what is read from valgrind, and the calls that it is given to run."""

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes.redis import RedisServer
from tests.support.wait import PATIENCE
from tests.tools.bench.call_loop import call_loop
from tests.tools.bench.instructions import Cost, command, cost_of, counts_in, line_of, main

PROFILE = "version: 1\ncmd: python\n\nevents: Ir Dr I1mr D1mr D1mw ILmr DLmr DLmw\nfn=(1)\n16 400\n"


def test_a_profile_is_read() -> None:
    """Its totals by event; zeros at the end are not written, and what is no profile is refused."""
    counts = counts_in(f"{PROFILE}totals: 1000 300 10 20 30\n")
    assert {"Ir": 1000, "Dr": 300, "I1mr": 10, "D1mr": 20, "D1mw": 30} == {
        k: v for k, v in counts.items() if v
    }
    assert {"ILmr": 0, "DLmr": 0, "DLmw": 0} == {k: v for k, v in counts.items() if not v}
    assert {"Ir": 7} == counts_in("events: Ir\nsummary: 7\n")
    for broken in ("", PROFILE, "totals: 7\n"):
        with pytest.raises(ValueError, match="no profile"):
            counts_in(broken)


def test_the_cost_of_a_call_is_that_of_the_second_half() -> None:
    """The beginning is in both runs, and in no call's cost; without caches there are no misses."""
    once = counts_in(f"{PROFILE}totals: 5000 0 10 10 10 1 1 1\n")
    twice = counts_in(f"{PROFILE}totals: 9000 0 20 25 30 2 3 4\n")
    assert Cost(40.0, 0.45, 0.06) == cost_of(once, twice, 100)
    assert Cost(2.0) == cost_of({"Ir": 5}, {"Ir": 9}, 2)


def test_the_line_of_a_cost() -> None:
    """Each beside the first one."""
    one, hundred = Cost(180_000.0, 7_000.4, 40.0), Cost(189_000.0, 7_300.0, 100.0)
    first, second = line_of("1 frontend", one, one), line_of("100 frontends", hundred, one)
    assert "180,000 instructions" in first
    assert "7,000 misses of the first level" in first
    assert "%" not in first
    assert second.endswith("100 of the second  (+5.0% instructions)")
    assert "misses" not in line_of("1 frontend", Cost(1.0), one)


def test_the_command_of_a_run() -> None:
    """Valgrind runs this module, with the caches only where they are asked for."""
    options = argparse.Namespace(load="get", users=20, calls=7, caches=False)
    plain = command(options, 3, Path("out"))
    assert ["valgrind", "--tool=callgrind"] == plain[:2]
    assert f"--callgrind-out-file={Path('out', 'profile')}" in plain
    within = plain[plain.index("--within") :]
    assert ["--within", "--load", "get", "--frontends", "3", "--users", "20", "--calls", "7"] == within
    options.caches = True
    assert {"--cache-sim=yes"} < set(command(options, 3, Path("out"))) - set(plain)


def test_nothing_is_counted_without_valgrind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It says how to get it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert 1 == main(["--frontends", "1", "100"])
    assert "apt-get install valgrind" in capsys.readouterr().err


@pytest.mark.requirement("P-01")
async def test_calls_of_frontends_that_are_alike_share_what_calls_ask_for(redis_server: RedisServer) -> None:
    """All calls are fast ones; route table, answers' lines and request ids are one for all frontends."""
    async with call_loop(redis_server.url, "mixed", frontends=3, users=6, different=60) as loop:
        await loop.run(120)
        paths = [each.forwarding.fast_path for each in loop.app.frontends.every]
        assert 3 == len(paths)
        assert 1 == len({path._routes for path in paths})
        assert 1 == len({path.context.request_ids for path in paths})
        routes = [route for path in paths for route in path._by_number if route]
        assert (3, 1) == (len(routes), len({route.shared for route in routes}))
        assert 1 == len({route.responses._lines for route in routes})


async def test_a_call_whose_session_is_not_in_memory_reads_it_from_redis(redis_server: RedisServer) -> None:
    """Each one is a fast call that asks Redis once, also one of a session that was read just before."""
    async with call_loop(redis_server.url, "miss", users=2, different=10) as loop:
        counts = loop.app.metrics.near_cache
        before = counts.misses
        await loop.run(20)
        assert 20 == counts.misses - before
        assert 1 == counts.entries


async def test_a_call_whose_use_is_to_be_noted_is_noted(redis_server: RedisServer) -> None:
    """Each one is a fast call whose note is in Redis behind it, and finds its session in memory."""
    async with call_loop(redis_server.url, "slide", users=2, different=10) as loop:
        with redis_server.client() as client:
            client.config_resetstat()
            await loop.run(20)
            assert 20 == client.info("commandstats")["cmdstat_hset"]["calls"]
        assert 2 == loop.app.metrics.near_cache.entries


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="other versions of Python learn otherwise")
@pytest.mark.parametrize("frontends", [1, 3])
def test_a_call_reads_attributes_in_one_step(redis_server: RedisServer, frontends: int) -> None:
    """Python finds few of them by a search of the class, which it does for properties and the like."""
    module = "tests.tools.bench.searched_attributes"
    command = [sys.executable, "-m", module, redis_server.url, str(frontends)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE)
    found = set(done.stdout.split())
    assert found <= {"lastindex", "number", "route", "target", "get", "total_requests", "default_headers"}
    assert {"total_requests"} <= found  # the loop's own server has it so: the search is one that finds


async def test_a_loop_that_fails_ends(redis_server: RedisServer) -> None:
    """Its application does not wait for the connections of a client that makes no more calls."""
    with pytest.raises(ZeroDivisionError):
        async with call_loop(redis_server.url, "get", users=1, different=1):
            raise ZeroDivisionError
