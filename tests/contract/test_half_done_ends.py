"""An end that fails between the note of it and the deletion: the session is over all the same."""

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from bff.crypto import new_secret
from bff.errors import Problem, StoreUnavailableError
from bff.session.model import EndReason
from bff.session.sessions import Found, NoSession
from tests.contract.cached import Site, cookie, read
from tests.session.sample import sample_tokens
from tests.support.network.redis_fault_proxy import FaultProxy, fault_proxy_to
from tests.support.network.relay import relay_to
from tests.support.processes.redis import RedisServer
from tests.support.tasks import background
from tests.support.wait import until

pytestmark = pytest.mark.requirement("B-22", "T-05")

End = Callable[[Site, Found], Coroutine[Any, Any, None]]


async def plain(site: Site, found: Found) -> None:
    await site.sessions.end(found.session, EndReason.LOGOUT)


async def of_its_tokens(site: Site, found: Found) -> None:
    await site.sessions.end(found.session, EndReason.LOGOUT, fence="all tokens")


async def of_its_version(site: Site, found: Found) -> None:
    await site.sessions.end(found.session, EndReason.LOGOUT, fence="version")


async def of_the_user(site: Site, found: Found) -> None:
    await site.sessions.bulk.end_all("main", sub=found.session.sub, sid=None, reason=EndReason.LOGOUT)


async def of_the_sign_in(site: Site, found: Found) -> None:
    """As the provider's back channel asks for it."""
    await site.sessions.bulk.end_all("main", sub=None, sid=found.session.sid, reason=EndReason.LOGOUT)


async def under_a_new_id(site: Site, found: Found) -> None:
    """The session of the same browser that began before."""
    await site.sessions.one_time.swap("browser", "browser-1", found.session.key, lifetime=60)
    await site.sessions.supersede("browser-1", (await site.signed_in()).session, 60)


async def by_its_key(site: Site, found: Found) -> None:
    await site.sessions.bulk.end_keys([found.session.key], EndReason.LOGOUT)


ENDS = [plain, of_its_tokens, of_its_version, of_the_user, of_the_sign_in, under_a_new_id]


@pytest.fixture
async def valve(redis_server: RedisServer) -> AsyncIterator[FaultProxy]:
    """The way of the first process' commands to Redis; reads of both, and the feeds, have others."""
    async with fault_proxy_to(redis_server.port) as valve:
        yield valve


@pytest.fixture
async def sites(redis_server: RedisServer, valve: FaultProxy) -> AsyncIterator[tuple[Site, Site]]:
    """Two processes, the first of which ends sessions."""
    keys = [new_secret()]
    async with relay_to(redis_server.port) as relay:
        url = f"redis://127.0.0.1:{valve.port}/0"
        pair = Site(redis_server, relay, keys, url=url), Site(redis_server, relay, keys)
        for site in pair:
            await site.start()
        yield pair
        for site in pair:
            await site.aclose()


def deletes(data: bytes) -> bool:
    """The record is to be deleted, by a command or by the script."""
    return b":session:" in data and (b"\r\nDEL\r\n" in data or b"\r\nEVAL\r\n" in data)


async def in_both(sites: tuple[Site, Site]) -> Found:
    """A session that is in the memory of both."""
    first, second = sites
    found = await first.cached()
    assert isinstance(await second.sessions.find(cookie(found)), Found)
    assert second.near(found) is not None
    opened = await first.sessions.open(found.handle)
    assert isinstance(opened, Found)
    return opened


async def over_everywhere(sites: tuple[Site, Site], found: Found) -> set[tuple[Problem, str | None] | None]:
    """Returns what each process says of the session, once all is told that has happened."""
    said: set[tuple[Problem, str | None] | None] = set()
    for site in sites:
        await site.told()
        assert site.near(found) is None
        packed = await read(site.sessions, found)
        assert packed is None
        outcome = await site.sessions.find(cookie(found))
        said.add((outcome.problem, outcome.reason) if isinstance(outcome, NoSession) else None)
    return said


@pytest.mark.parametrize("end", ENDS)
async def test_the_deletion_is_refused(sites: tuple[Site, Site], redis_server: RedisServer, end: End) -> None:
    """Nobody serves it from memory, though its record stands, and a repeated end deletes that."""
    found = await in_both(sites)
    redis_server.cli("ACL", "SETUSER", "default", "-del")
    with pytest.raises(StoreUnavailableError):
        await end(sites[0], found)
    reason = EndReason.SIGNED_IN_AGAIN if end is under_a_new_id else EndReason.LOGOUT
    assert "1" == redis_server.cli("EXISTS", f"bff:session:{found.session.key}")
    assert {(Problem.SESSION_ENDED, reason)} == await over_everywhere(sites, found)
    redis_server.cli("ACL", "SETUSER", "default", "+del")
    await end(sites[0], found)
    assert "0" == redis_server.cli("EXISTS", f"bff:session:{found.session.key}")
    assert {(Problem.SESSION_ENDED, reason)} == await over_everywhere(sites, found)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("done", [False, True])
async def test_redis_is_lost_at_the_deletion(
    sites: tuple[Site, Site], valve: FaultProxy, redis_server: RedisServer, end: End, *, done: bool
) -> None:
    """Before the command has passed, or before its answer has."""
    found = await in_both(sites)
    trap = valve.trap(deletes, answer=done)
    async with background(end(sites[0], found)) as ending:
        await trap.sprung.wait()
        name = f"bff:session:{found.session.key}"
        if done:
            await until(lambda: redis_server.cli("EXISTS", name) == "0")
        valve.cut()
        trap.release()
        with pytest.raises(StoreUnavailableError):
            await ending
    assert str(int(not done)) == redis_server.cli("EXISTS", name)
    reason = EndReason.SIGNED_IN_AGAIN if end is under_a_new_id else EndReason.LOGOUT
    assert {(Problem.SESSION_ENDED, reason)} == await over_everywhere(sites, found)


async def test_an_end_under_way_is_seen_before_the_deletion(
    sites: tuple[Site, Site], valve: FaultProxy
) -> None:
    """Whoever follows the session hears of the note, and finds the session over."""
    found = await in_both(sites)
    heard: list[str | None] = []

    class Follower:
        def changed(self, key: str | None) -> None:
            heard.append(key)

    sites[1].changes.follow(found.session.key, Follower())
    trap = valve.trap(deletes)
    async with background(plain(sites[0], found)) as ending:
        await trap.sprung.wait()
        await until(lambda: heard == [found.session.key])
        assert {(Problem.SESSION_ENDED, EndReason.LOGOUT)} == await over_everywhere(sites, found)
        trap.release()
        await ending


@pytest.mark.parametrize("end", [plain, of_its_tokens, of_its_version, by_its_key])
async def test_a_full_redis_takes_ends(sites: tuple[Site, Site], redis_server: RedisServer, end: End) -> None:
    """It refuses the note and takes the deletion: the session is over, and nobody knows why."""
    found = await in_both(sites)
    redis_server.cli("CONFIG", "SET", "maxmemory", "1")
    await end(sites[0], found)
    assert "0" == redis_server.cli("EXISTS", f"bff:session:{found.session.key}")
    redis_server.cli("CONFIG", "SET", "maxmemory", "0")
    assert {(Problem.SESSION_ENDED, EndReason.UNKNOWN)} == await over_everywhere(sites, found)


@pytest.mark.parametrize("end", [plain, of_its_tokens])
async def test_the_deletion_made_room(
    sites: tuple[Site, Site], valve: FaultProxy, redis_server: RedisServer, end: End
) -> None:
    """The reason is noted behind it: the page is told, and no copy of the record is a session."""
    found = await in_both(sites)
    redis_server.cli("CONFIG", "SET", "maxmemory", "1")
    trap = valve.trap(deletes)
    async with background(end(sites[0], found)) as ending:
        await trap.sprung.wait()
        redis_server.cli("CONFIG", "SET", "maxmemory", "0")
        trap.release()
        await ending
    assert {(Problem.SESSION_ENDED, EndReason.LOGOUT)} == await over_everywhere(sites, found)


@pytest.mark.parametrize("end", [of_the_user, of_the_sign_in])
async def test_a_full_redis_ends_no_sign_in_under_way(
    sites: tuple[Site, Site], redis_server: RedisServer, end: End
) -> None:
    """So an end of all of a user is refused before it begins, and can be repeated."""
    found = await in_both(sites)
    redis_server.cli("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(StoreUnavailableError):
        await end(sites[0], found)
    redis_server.cli("CONFIG", "SET", "maxmemory", "0")
    assert sites[1].near(found) is not None
    for site in sites:
        assert isinstance(await site.sessions.find(cookie(found)), Found)
    await end(sites[0], found)
    assert {(Problem.SESSION_ENDED, EndReason.LOGOUT)} == await over_everywhere(sites, found)


@pytest.mark.requirement("T-05", "B-39")
async def test_a_note_is_taken_back_by_its_writer_alone(
    sites: tuple[Site, Site], valve: FaultProxy, redis_server: RedisServer
) -> None:
    """An end of a former version ends nothing; the note of somebody else's end, written meanwhile, stays."""
    first, second = sites
    found = await in_both(sites)
    await second.sessions.save(second.sessions.prepare(found, sample_tokens(), claims=None))
    trap = valve.trap(lambda data: b":ended:" in data and b"SET" not in data)
    async with background(of_its_version(first, found)) as ending:
        await trap.sprung.wait()
        assert await second.sessions.end(found.session, EndReason.OPERATOR)
        trap.release()
        await ending
    assert "operator" == redis_server.cli("GET", f"bff:ended:{found.session.key}")
    assert {(Problem.SESSION_ENDED, EndReason.OPERATOR)} == await over_everywhere(sites, found)
