"""What somebody who writes Redis can do to a session, and what not: `.github/SECURITY.md` says the same."""

from dataclasses import replace

import pytest

from bff.errors import Problem
from bff.session.lifetime import CLOCKS_APART
from bff.session.model import EndReason, Fence, Session
from bff.session.sessions import Found, NoSession, Sessions
from tests.contract.cached import Site, cookie, read
from tests.session.sample import sample_tokens

IDLE = 1800
TOLERANCE = 30


def name(found: Found) -> str:
    return f"bff:session:{found.session.key}"


def without_cache(site: Site) -> Sessions:
    """The same sessions as a process without a near cache sees them."""
    return Sessions(
        store=site.store,
        keyring=site.sessions._keyring,
        cookie=site.sessions.cookie,
        settings=site.sessions._settings,
        metrics=site.metrics,
        clock=lambda: site.now,
    )


def dump(site: Site, found: Found) -> bytes:
    with site.redis.client(decode_responses=False) as client:
        dumped: bytes = client.dump(name(found))
        return dumped


async def put_back(site: Site, found: Found, dumped: bytes, ttl: int = 0) -> None:
    with site.redis.client(decode_responses=False) as client:
        client.restore(name(found), ttl, dumped, replace=True)
    await site.told()


async def everywhere(site: Site, found: Found) -> set[tuple[Problem, str | None] | int]:
    """What each way of looking finds: the version, or why there is none."""
    bare = without_cache(site)
    packed = await read(bare, found)
    outcomes = [await site.sessions.find(cookie(found)), await bare.find(cookie(found))]
    seen: set[tuple[Problem, str | None] | int] = {
        (one.problem, one.reason) if isinstance(one, NoSession) else one.session.version for one in outcomes
    }
    near = site.near(found)
    alive = any(isinstance(one, Found) for one in outcomes)
    assert alive == (near is not None)
    quiet = packed is not None and site.now < packed.quiet_until
    assert alive or not quiet  # else a call would go out without another look
    return seen


async def rotated(site: Site, found: Found) -> Found:
    prepared = site.sessions.prepare(found, sample_tokens(access_token="access-2"), claims=None)
    await site.sessions.save(prepared)
    await site.told()
    return replace(found, session=prepared.session)


async def end(site: Site, session: Session, reason: EndReason, *, fence: Fence = None) -> None:
    assert await site.sessions.end(session, reason, fence=fence)
    await site.told()


@pytest.mark.requirement("B-39")
@pytest.mark.parametrize("ttl", [0, 60_000])
@pytest.mark.parametrize("fence", [None, "version"])
async def test_a_session_that_was_ended_is_not_put_back(site: Site, fence: Fence, ttl: int) -> None:
    """DUMP, sign-out, RESTORE: no session, on any way, and the reason is the one of its end."""
    found = await site.cached()
    dumped = dump(site, found)
    await end(site, found.session, EndReason.LOGOUT, fence=fence)
    await put_back(site, found, dumped, ttl)
    assert {(Problem.SESSION_ENDED, EndReason.LOGOUT)} == await everywhere(site, found)
    assert await site.sessions.bulk.end_all("main", sub="alice", sid=None, reason=EndReason.LOGOUT) == 0


@pytest.mark.requirement("B-39")
async def test_no_former_version_of_it_either(site: Site) -> None:
    """Of a session that has been ended no older version is taken."""
    first = await site.cached()
    dumped = dump(site, first)
    second = await rotated(site, first)
    await end(site, second.session, EndReason.INVALID_GRANT, fence="version")
    await put_back(site, first, dumped)
    assert {(Problem.SESSION_ENDED, EndReason.INVALID_GRANT)} == await everywhere(site, first)


@pytest.mark.requirement("T-05")
async def test_an_end_that_came_too_late_ends_nothing(site: Site) -> None:
    """A process stops between the note of a fenced end and its taking back: the newer version lives.

    Its own end is noted all the same, over that note.
    """
    first = await site.cached()
    second = await rotated(site, first)
    await site.store.endings.note(first.session.key, EndReason.INVALID_GRANT, version=1, kept=60)
    assert {2} == await everywhere(site, second)
    dumped = dump(site, second)
    await end(site, second.session, EndReason.LOGOUT)
    await put_back(site, second, dumped)
    assert {(Problem.SESSION_ENDED, EndReason.LOGOUT)} == await everywhere(site, second)


@pytest.mark.requirement("B-39", "B-21")
@pytest.mark.parametrize("command", ["PERSIST", "EXPIRE"])
async def test_no_ttl_lifts_the_idle_end(site: Site, command: str) -> None:
    """PERSIST, or a longer EXPIRE: the session ends for want of use, as if nobody had touched its TTL."""
    found = await site.cached()
    arguments = ["1000000"] if command == "EXPIRE" else []
    assert "1" == site.redis.cli(command, name(found), *arguments)
    await site.told()
    site.now += IDLE - 1
    assert {1} == await everywhere(site, found)
    site.now += TOLERANCE + 2
    assert {(Problem.SESSION_EXPIRED, EndReason.IDLE)} == await everywhere(site, found)
    assert "0" == site.redis.cli("EXISTS", name(found))


@pytest.mark.requirement("B-39", "B-21")
async def test_the_near_cache_keeps_the_idle_end(site: Site) -> None:
    """A session that was put into the cache when its TTL had been lifted is not served from it for longer."""
    found = await site.signed_in()
    site.redis.cli("PERSIST", name(found))
    await site.told()
    await site.sessions.find(cookie(found))
    assert site.near(found) is not None
    site.steps = IDLE + TOLERANCE
    assert site.near(found) is None


@pytest.mark.requirement("B-39", "B-31")
@pytest.mark.parametrize(
    "edited", ["1900000000", "1900000000.{tag}", "1900000000.000000000000000000", "{other}", "{second}", ""]
)
async def test_nobody_else_writes_when_a_session_was_used(site: Site, edited: str) -> None:
    """`seen` opens with the proof that was written beside it alone."""
    found, other = await site.cached(), await site.signed_in()
    second, _, tag = site.redis.cli("HGET", name(found), "seen").partition(".")
    with site.redis.client() as client:
        foreign = client.hget(name(other), "seen")
        client.hset(name(found), "seen", edited.format(second=second, tag=tag, other=foreign))
    await site.told()
    assert {(Problem.SESSION_ENDED, EndReason.TAMPERED)} == await everywhere(site, found)


@pytest.mark.requirement("B-39")
async def test_what_is_noted_of_its_use_is_proved(site: Site) -> None:
    """Sliding writes a new proof, and a save keeps it."""
    found = await site.cached()
    site.now += 600
    await site.sessions.slide(found)
    await site.told()
    await rotated(site, found)
    site.now += IDLE - 1
    assert {2} == await everywhere(site, found)
    site.now += TOLERANCE + 2
    assert {(Problem.SESSION_EXPIRED, EndReason.IDLE)} == await everywhere(site, found)


@pytest.mark.requirement("B-39")
async def test_what_remains(site: Site) -> None:
    """An older version of a session that lives is taken, and so is one whose note was deleted with it.

    Neither lives longer than it would have by itself.
    """
    first = await site.cached()
    dumped = dump(site, first)
    await rotated(site, first)
    await put_back(site, first, dumped)
    assert {1} == await everywhere(site, first)
    await end(site, first.session, EndReason.LOGOUT)
    site.redis.cli("DEL", f"bff:ended:{first.session.key}")
    await put_back(site, first, dumped)
    assert {1} == await everywhere(site, first)
    site.now += IDLE + TOLERANCE
    assert {(Problem.SESSION_EXPIRED, EndReason.IDLE)} == await everywhere(site, first)


@pytest.mark.requirement("B-39")
async def test_a_note_lasts_for_as_long_as_a_record_could(site: Site) -> None:
    """With an idle timeout of more than an hour the note of an end lasts as long as that, and longer.

    The tolerance of the idle end is its, clocks that are apart, and a use that is noted while it is written.
    """
    found = await site.cached()
    assert await site.store.end(found.session, EndReason.LOGOUT, kept=2 * 3600)
    left = int(site.redis.cli("TTL", f"bff:ended:{found.session.key}"))
    assert 7200 + TOLERANCE + CLOCKS_APART < left <= 7200 + TOLERANCE + 2 * CLOCKS_APART
