"""A user's own sessions: listed, ended one by one or all others at once, and nobody else's."""

import time
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from bff.errors import Problem
from bff.session.own_sessions import MOST
from bff.session.sessions import Found, NoSession
from tests.support.wait import until
from tests.web.site import Browser, Site

FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0"
PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.5 Mobile/15E148 Safari/604.1"
)
SIGNED_OUT_ELSEWHERE = (Problem.SESSION_ENDED, "signed_out_elsewhere")
CALLS = [("GET", "/bff/sessions"), ("DELETE", "/bff/sessions"), ("DELETE", "/bff/sessions/0123456789ab")]


async def signed_in(site: Site, agent: str = FIREFOX, **claims: Any) -> tuple[Browser, Found]:
    """Somebody's browser, alice's unless the claims say otherwise."""
    site.provider.claims = claims
    browser = site.browser()
    location = await site.login(browser)
    page = await browser.get(site.provider.answer_to(location), origin="cross-site")
    assert 200 == page.status_code
    await browser.get("/bff/callback/finish", headers={"user-agent": agent})
    found = await site.signed_in(browser)
    assert isinstance(found, Found)
    return browser, found


async def outcome(site: Site, found: Found) -> tuple[Problem, str | None] | None:
    """What the session's page is told; None while it lives."""
    now = await site.sessions.open(found.handle)
    return (now.problem, now.reason) if isinstance(now, NoSession) else None


async def listed(browser: Browser) -> list[dict[str, Any]]:
    answer = await browser.call("GET", "/bff/sessions")
    assert 200 == answer.status_code
    sessions: list[dict[str, Any]] = answer.json()["sessions"]
    return sessions


def seen(site: Site, found: Found) -> str:
    return site.redis.cli("HGET", f"bff:session:{found.session.key}", "seen")


@pytest.mark.requirement("S-04", "B-23", "B-24", "B-25")
async def test_a_user_sees_where_they_are_signed_in(site: Site) -> None:
    """Their own sessions, this browser's first, in words and times; nothing that opens one."""
    _, phone = await signed_in(site, PHONE)
    await signed_in(site, sub="bob")
    browser, here = await signed_in(site)
    answer = await browser.call("GET", "/bff/sessions")
    assert "no-store" == answer.headers["cache-control"]
    common = {
        "created_at": int(here.session.created),
        "last_seen_at": int(here.session.seen),
        "ends_at": int(here.session.ends),
        "address": "127.0.0.1",
    }
    rows = answer.json()["sessions"]
    assert (
        common
        | {
            "id": here.session.id,
            "browser": "Firefox 128",
            "system": "Windows",
            "current": True,
            "bound": False,
        }
        == rows[0]
    )
    assert (phone.session.id, "Safari 17", "iPhone", False) == tuple(
        rows[1][name] for name in ("id", "browser", "system", "current")
    )
    assert 2 == len(rows)
    for secret in (here.handle, phone.handle, "access-of", "refresh-of", here.session.key):
        assert secret not in answer.text


@pytest.mark.requirement("S-04", "B-23", "B-27")
async def test_a_user_ends_one_of_their_sessions(site: Site) -> None:
    """Its page is told why; the others go on; the audit log says who, which, where from, why, by which."""
    _, phone = await signed_in(site, PHONE)
    _, other = await signed_in(site, sub="bob")
    browser, here = await signed_in(site)
    with capture_logs() as logs:
        answer = await browser.call("DELETE", f"/bff/sessions/{phone.session.id}")
    assert (200, {"ended": 1, "provider_revoked": False}) == (answer.status_code, answer.json())
    assert [SIGNED_OUT_ELSEWHERE, None, None] == [await outcome(site, each) for each in (phone, other, here)]
    assert [] == site.provider.revoked
    (event,) = [line for line in logs if line["event"] == "session_ended"]
    expected = {
        "sub": "alice",
        "session": phone.session.id,
        "address": "127.0.0.1",
        "reason": "signed_out_elsewhere",
        "by": here.session.id,
        "provider_revoked": False,
    }
    assert expected == {name: event[name] for name in expected}
    again = await browser.call("DELETE", f"/bff/sessions/{phone.session.id}")
    assert (404, "no_such_session") == (again.status_code, again.json()["code"])


@pytest.mark.requirement("S-04", "B-23")
@pytest.mark.parametrize("at_once", [2, 100])
async def test_a_user_ends_all_other_sessions(
    site: Site, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """This browser's stays, and so does everybody else's, however many end by one round trip."""
    monkeypatch.setattr("bff.session.bulk_endings._AT_ONCE", at_once)
    others = [(await signed_in(site, PHONE))[1] for _ in range(3)]
    _, bob = await signed_in(site, sub="bob")
    browser, here = await signed_in(site)
    answer = await browser.call("DELETE", "/bff/sessions")
    assert (200, {"ended": 3, "provider_revoked": False}) == (answer.status_code, answer.json())
    assert 3 * [SIGNED_OUT_ELSEWHERE] == [await outcome(site, each) for each in others]
    assert [None, None] == [await outcome(site, each) for each in (bob, here)]
    assert [here.session.id] == [row["id"] for row in await listed(browser)]
    assert 0 == (await browser.call("DELETE", "/bff/sessions")).json()["ended"]


@pytest.mark.requirement("T-15", "B-27")
async def test_a_sign_in_under_way_is_ended_with_all_others(site: Site) -> None:
    """Whoever is between the provider and the session when the user ends all others gets none."""
    browser, _ = await signed_in(site)
    late = site.browser()
    location = await site.login(late)
    await browser.call("DELETE", "/bff/sessions")
    with capture_logs() as logs:
        answer = await site.come_back(late, location)
    assert "/?bff_error=session_ended" == answer.headers["location"]
    assert ["signed_out_elsewhere"] == [line["reason"] for line in logs if line["event"] == "session_ended"]
    assert 1 == len(await listed(browser))


@pytest.mark.requirement("T-15", "P-01")
async def test_an_end_of_all_others_is_one_frontends(site: Site) -> None:
    """A sign-in under way at another frontend goes on, and after the note of an earlier version too.

    An end by an operator or a provider is one of all frontends.
    """
    browser, here = await signed_in(site)
    began, sub = site.clock() - 1, here.session.sub
    named = replace(here.session, frontend="shop")
    assert 200 == (await browser.call("DELETE", "/bff/sessions")).status_code
    assert "signed_out_elsewhere" == await site.sessions.bulk.ended_since(here.session, began)
    assert None is await site.sessions.bulk.ended_since(named, began)
    site.redis.cli("SET", f"bff:ended:main:{sub}%0Ashop", f"{site.clock()} operator")
    assert "operator" == await site.sessions.bulk.ended_since(named, began)
    site.redis.cli("DEL", f"bff:ended:main:{sub}%0Adefault", f"bff:ended:main:{sub}%0Ashop")
    for reason, at_another in (("signed_out_elsewhere", None), ("operator", "operator")):
        site.redis.cli("SET", f"bff:ended:main:{sub}", f"{site.clock()} {reason}")
        assert reason == await site.sessions.bulk.ended_since(here.session, began)
        assert at_another == await site.sessions.bulk.ended_since(named, began)


@pytest.mark.requirement("L-01", "B-35")
async def test_ending_this_browsers_own_is_a_sign_out(site: Site) -> None:
    """With all that belongs to it: tokens revoked, cookie cleared, and the way to the provider's page."""
    browser, here = await signed_in(site)
    answer = await browser.call("DELETE", f"/bff/sessions/{here.session.id}")
    expected = {"redirect": "/bff/logout/continue", "provider_revoked": True, "provider_sign_out": True}
    assert (200, expected) == (answer.status_code, answer.json())
    assert '"cache"' == answer.headers["clear-site-data"]
    assert ["refresh-of-code-1"] == site.provider.revoked
    assert browser.session() is None
    assert (Problem.SESSION_ENDED, "logout") == await outcome(site, here)


@pytest.mark.requirement("S-04", "B-23")
async def test_an_id_of_somebody_else_is_no_id(site: Site) -> None:
    """404, nothing is ended; Redis is asked the same as for an id that nobody has, so it takes as long."""
    _, bob = await signed_in(site, sub="bob")
    browser, here = await signed_in(site)
    asked = []
    for id_ in (bob.session.id, "0123456789ab"):
        with site.redis.client() as client, client.monitor() as monitor:
            answer = await browser.call("DELETE", f"/bff/sessions/{id_}")
            client.echo("the end")
            commands = []
            while "the end" not in (command := monitor.next_command()["command"]):
                commands.append(command)
        assert (404, "no_such_session") == (answer.status_code, answer.json()["code"])
        asked.append([command for command in commands if not command.startswith(("HELLO", "CLIENT"))])
    assert asked[0] == asked[1]
    assert bob.session.key not in str(asked)
    assert [None, None] == [await outcome(site, each) for each in (bob, here)]


@pytest.mark.parametrize("id_", ["x", "0", "*", "0123456789a", "0123456789AB", "%0a", "..%2fuser", "0" * 64])
async def test_what_is_no_id_ends_nothing(site: Site, id_: str) -> None:
    """Not by a part of a key, nor by the whole of it, nor by anything else."""
    browser, here = await signed_in(site)
    assert 404 == (await browser.call("DELETE", f"/bff/sessions/{id_}")).status_code
    assert 404 == (await browser.call("DELETE", f"/bff/sessions/{here.session.key}")).status_code
    assert await outcome(site, here) is None


@pytest.mark.requirement("B-09", "B-11")
@pytest.mark.parametrize(("method", "path"), CALLS)
@pytest.mark.parametrize("headers", [{}, {"x-csrf": "1", "origin": "https://evil.example"}])
async def test_a_foreign_page_ends_and_sees_nothing(
    site: Site, method: str, path: str, headers: dict[str, str]
) -> None:
    """The cookie alone is not enough, for reading either."""
    _, phone = await signed_in(site, PHONE)
    browser, _ = await signed_in(site)
    path = path.replace("0123456789ab", phone.session.id)
    answer = await browser.request(method, path, headers=headers)
    assert (403, "csrf_rejected") == (answer.status_code, answer.json()["code"])
    assert await outcome(site, phone) is None


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_nobody_has_no_sessions(site: Site, method: str, path: str) -> None:
    """Without a session each of them is a 401 of ours; without Redis 503, and the cookie stays."""
    answer = await site.browser().call(method, path)
    assert (401, "session_missing") == (answer.status_code, answer.json()["code"])
    browser, _ = await signed_in(site)
    site.redis.stop()
    answer = await browser.call(method, path)
    assert (503, "store_unavailable") == (answer.status_code, answer.json()["code"])
    assert browser.session() is not None


async def test_what_is_gone_is_not_listed_and_leaves_the_index(site: Site) -> None:
    """`redis-cli DEL` tells no index; who is just signing in stays in it."""
    _, phone = await signed_in(site, PHONE)
    browser, here = await signed_in(site)
    site.redis.cli("DEL", f"bff:session:{phone.session.key}")
    site.redis.cli("ZADD", "bff:user:main:alice", str(int(time.time()) + 99999), "f" * 64)
    site.redis.cli("SET", f"bff:starting:{'f' * 64}", "1", "EX", "60")
    assert [here.session.id] == [row["id"] for row in await listed(browser)]
    members = set(site.redis.cli("ZRANGE", "bff:user:main:alice", "0", "-1").split())
    assert {here.session.key, "f" * 64} == members


@pytest.mark.requirement("B-21", "B-39")
@pytest.mark.parametrize(
    "changes",
    [
        ("HSET", "sub", "bob"),
        ("HSET", "provider", "other"),
        ("HSET", "seen", "not a time"),
        ("HSET", "ends", "nan"),
        ("HDEL", "version"),
        ("HSET", "seen", "1000000000.123"),
        ("HSET", "ends", "1000000000"),
    ],
)
async def test_what_is_no_session_of_the_user_is_not_listed(site: Site, changes: tuple[str, ...]) -> None:
    """A record that somebody has changed, or that is over whatever its TTL says; the list goes on."""
    _, phone = await signed_in(site, PHONE)
    browser, here = await signed_in(site)
    command, *words = changes
    site.redis.cli(command, f"bff:session:{phone.session.key}", *words)
    assert [here.session.id] == [row["id"] for row in await listed(browser)]


async def test_an_index_is_no_proof(site: Site) -> None:
    """Somebody else's key in the user's index is neither shown nor ended: the record says whose it is."""
    _, bob = await signed_in(site, sub="bob")
    browser, here = await signed_in(site)
    site.redis.cli("ZADD", "bff:user:main:alice", "9999999999", bob.session.key)
    assert [here.session.id] == [row["id"] for row in await listed(browser)]
    assert 404 == (await browser.call("DELETE", f"/bff/sessions/{bob.session.id}")).status_code
    assert 0 == (await browser.call("DELETE", "/bff/sessions")).json()["ended"]
    assert await outcome(site, bob) is None


async def test_a_list_has_an_end(site: Site) -> None:
    """Of very many sessions so many are shown, this browser's among them though it ends first."""
    browser, here = await signed_in(site)
    with site.redis.client(decode_responses=False) as client:
        record = client.hgetall(f"bff:session:{here.session.key}")
        for number in range(MOST + 5):
            client.hset(f"bff:session:{number:064x}", mapping=record)
            client.zadd("bff:user:main:alice", {f"{number:064x}": here.session.ends + 1 + number})
    rows = await listed(browser)
    assert (MOST, here.session.id) == (len(rows), rows[0]["id"])


@pytest.mark.requirement("B-36")
@pytest.mark.parametrize(
    ("counts", "method", "path"),
    [(True, "GET", ""), (False, "GET", "?slide=false"), (False, "HEAD", ""), (True, "DELETE", "")],
)
async def test_what_of_it_counts_as_use(site: Site, counts: bool, method: str, path: str) -> None:
    """A page that looks on a timer says `slide=false`."""
    browser, here = await signed_in(site)
    before = seen(site, here)
    site.clock.ahead = 300
    assert 200 == (await browser.call(method, f"/bff/sessions{path}")).status_code
    await until(lambda: counts == (before != seen(site, here)))
