"""Endings that nobody of the proxy brought about, in the audit logs of several real processes."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes.fleet import Fleet, Member, running_fleet
from tests.support.processes.redis import RedisServer
from tests.support.providers.rotating import RotatingProvider, rotating_provider
from tests.support.wait import until


@pytest.fixture
def provider() -> Iterator[RotatingProvider]:
    with rotating_provider() as provider:
        yield provider


@pytest.fixture
async def fleet(
    redis_server: RedisServer, provider: RotatingProvider, tmp_path: Path
) -> AsyncIterator[Fleet]:
    async with running_fleet(redis_server, provider, tmp_path, workers=3, valves=False) as fleet:
        yield fleet


def told(fleet: Fleet, member: Member) -> list[dict[str, Any]]:
    """The lines of all processes about the end of a session."""
    return [
        line for worker in fleet.workers for line in worker.lines("session_ended", session=member.key[:12])
    ]


@pytest.mark.requirement("S-07", "B-22", "B-27")
async def test_one_line_of_three_processes(fleet: Fleet) -> None:
    """Each process meets the deleted session, and the feed tells all of them: one of them writes the line."""
    first, second = [await fleet.member(sub=sub) for sub in ("alice", "bob")]
    for member in (first, second):
        for worker in range(3):
            assert 200 == (await fleet.call(member, worker)).status
        fleet.redis.cli("DEL", f"bff:session:{member.key}")
        for worker in range(3):
            assert 401 == (await fleet.call(member, worker)).status
        await until(lambda member=member: bool(told(fleet, member)))  # type: ignore[misc] # binds this turn's
    (line,) = told(fleet, first)
    assert ("alice", "deleted", False, True) == tuple(
        line[name] for name in ("sub", "reason", "provider_revoked", "audit")
    )
    assert [1, 1] == [len(told(fleet, member)) for member in (first, second)]


@pytest.mark.requirement("S-07", "B-22")
async def test_a_note_that_expires_is_no_second_end(fleet: Fleet) -> None:
    """Redis tells of that, too, an hour after an end; the auditor has looked at the end by then."""
    first, *others = [await fleet.member(sub=sub) for sub in ("alice", "bob", "carol")]
    assert 200 == (await fleet.call(first, 0, "POST", "/bff/logout")).status
    for other in others:  # once an end is told of, the auditor has looked at what happened before
        fleet.redis.cli("DEL", f"bff:session:{other.key}")
        await until(lambda other=other: bool(told(fleet, other)))  # type: ignore[misc] # binds this turn's
        assert 1 == len(told(fleet, first))
        fleet.redis.cli("DEL", f"bff:ended:{first.key}")


@pytest.mark.requirement("B-22")
async def test_half_an_end(fleet: Fleet) -> None:
    """The note of an end without a deletion ends the session at once in all processes that remember it."""
    member = await fleet.member()
    assert [200] * 3 == [(await fleet.call(member, worker)).status for worker in range(3)]
    fleet.redis.cli("SET", f"bff:ended:{member.key}", "logout")
    assert [401] * 3 == [(await fleet.call(member, worker)).status for worker in range(3)]
    assert "1" == fleet.redis.cli("EXISTS", f"bff:session:{member.key}")


@pytest.mark.requirement("B-22")
async def test_a_sign_out_while_redis_is_full(fleet: Fleet) -> None:
    """It takes no write, and deletions: the session is over in all processes, and audited once."""
    member = await fleet.member()
    assert [200] * 3 == [(await fleet.call(member, worker)).status for worker in range(3)]
    fleet.redis.cli("CONFIG", "SET", "maxmemory", "1")
    assert 200 == (await fleet.call(member, 0, "POST", "/bff/logout")).status
    assert "0" == fleet.redis.cli("EXISTS", f"bff:session:{member.key}")
    assert [401] * 3 == [(await fleet.call(member, worker)).status for worker in range(3)]
    assert ["logout"] == [line["reason"] for line in told(fleet, member)]
