"""GET /bff/user and POST /bff/refresh, on a real Redis: who may ask, and what the answer says."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from bff.limits.rate_limits import RateLimits
from bff.policy.csrf import Guard
from bff.session.sessions import Found
from bff.settings.model import LimitSettings
from bff.web.endpoint_limits import EndpointLimits
from bff.web.user import UserEndpoints
from tests.refresh.harness import RefreshHarness, running_harness
from tests.support.conformance import hold
from tests.support.processes.redis import RedisServer

BASE = "http://localhost"
SCRIPT = {"x-csrf": "1", "sec-fetch-site": "same-origin"}


class Page:
    """A script of a page of ours, and the endpoints it calls."""

    def __init__(self, harness: RefreshHarness) -> None:
        process = harness.processes[0]
        rates = RateLimits(process.store.rates, timeout=20.0, metrics=process.metrics, clock=harness.clock)
        endpoints = UserEndpoints(
            sessions=process.sessions,
            refresher=process.refresher,
            guard=Guard(BASE.encode(), b"x-csrf"),
            limits=EndpointLimits(LimitSettings(refresh_per_minute=1000, address_per_minute=1000), rates),
            logout_url=lambda _: "/bff/logout?sid=s",
            shown={},
            trusted_proxies=(),
            clock=harness.clock,
        )
        self._transport = httpx.ASGITransport(app=Starlette(routes=endpoints.routes()))

    async def call(
        self, method: str, path: str, found: Found | None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        sent = dict(SCRIPT if headers is None else headers)
        if found is not None:
            sent["cookie"] = f"bff={found.handle}"
        async with httpx.AsyncClient(transport=self._transport, base_url=BASE) as client:
            answer = await client.request(method, path, headers=sent)
        hold(answer)
        return answer


@pytest.fixture(name="harness")
async def _harness(redis_server: RedisServer) -> AsyncIterator[RefreshHarness]:
    async with running_harness(redis_server) as harness:
        yield harness


def seen(harness: RefreshHarness, found: Found) -> str:
    return harness.redis.cli("HGET", f"bff:session:{found.session.key}", "seen").split(":")[0]


CALLS = [("GET", "/bff/user"), ("POST", "/bff/refresh")]


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_nobody_is_told_nothing(harness: RefreshHarness, method: str, path: str) -> None:
    """Without a session each of them is a 401 of ours, and the provider is not asked."""
    answer = await Page(harness).call(method, path, None)
    assert (401, "session_missing") == (answer.status_code, answer.json()["code"])
    assert [] == harness.provider.sent


async def test_a_page_may_ask_without_an_error(harness: RefreshHarness) -> None:
    """`anonymous=ok`: 200 for nobody and for a session that has ended, with what the 401 would have said."""
    page = Page(harness)
    nobody = await page.call("GET", "/bff/user?anonymous=ok", None)
    login = "/bff/login"
    assert (200, {"signed_in": False, "code": "session_missing", "login_url": login}) == (
        nobody.status_code,
        nobody.json(),
    )
    found = await harness.signed_in()
    body = (await page.call("GET", "/bff/user?anonymous=ok", found)).json()
    assert found.session.sub == body["sub"]
    harness.redis.cli("DEL", f"bff:session:{found.session.key}")
    over = (await page.call("GET", "/bff/user?anonymous=ok&slide=false", found)).json()
    assert (False, "session_ended", "unknown") == (over["signed_in"], over["code"], over["reason"])


async def test_a_refusal_stays_one(harness: RefreshHarness) -> None:
    """`anonymous=ok` hides no 403."""
    answer = await Page(harness).call("GET", "/bff/user?anonymous=ok", None, {})
    assert (403, "csrf_rejected") == (answer.status_code, answer.json()["code"])


@pytest.mark.parametrize(("method", "path"), CALLS)
@pytest.mark.parametrize(
    "headers",
    [{}, {"x-csrf": "1", "sec-fetch-site": "cross-site"}, {"x-csrf": "1", "origin": "https://evil.example"}],
)
async def test_a_foreign_page_is_refused(
    harness: RefreshHarness, method: str, path: str, headers: dict[str, str]
) -> None:
    """The cookie alone gets neither the claims nor a rotation."""
    found = await harness.signed_in()
    answer = await Page(harness).call(method, path, found, headers)
    assert (403, "csrf_rejected") == (answer.status_code, answer.json()["code"])
    assert [] == harness.provider.sent


@pytest.mark.parametrize(
    ("noted", "method", "path"),
    [
        (True, "GET", "/bff/user"),
        (True, "GET", "/bff/user?slide=true"),
        (False, "GET", "/bff/user?slide=false"),
        (False, "HEAD", "/bff/user"),
    ],
)
async def test_what_counts_as_use(harness: RefreshHarness, noted: bool, method: str, path: str) -> None:
    """A page that asks on a timer says `slide=false`, or its user would never be idle."""
    found = await harness.signed_in()
    before = seen(harness, found)
    harness.now += 300
    answer = await Page(harness).call(method, path, found)
    assert 200 == answer.status_code
    assert noted == (before != seen(harness, found))


async def test_the_times_of_a_session(harness: RefreshHarness) -> None:
    """Each in whole seconds from now: the absolute end, the idle end, the token's."""
    found = await harness.signed_in()
    harness.now += 10
    body: dict[str, Any] = (await Page(harness).call("GET", "/bff/user?slide=false", found)).json()
    session = found.session
    expected = {
        "id": session.id,
        "created_at": int(session.created),
        "idle_expires_in": 30 * 60 - 10,
        "expires_in": 12 * 3600 - 10,
        "access_token_expires_in": max(0, int((session.tokens.access_expires_at or 0) - harness.now)),
        "rotations": 0,
    }
    assert expected == body["session"]
    assert ("alice", "/bff/logout?sid=s") == (body["sub"], body["logout_url"])


async def test_a_rotation_by_hand(harness: RefreshHarness) -> None:
    """The answer describes the session as it is then; the token is spent once."""
    found = await harness.signed_in()
    answer = await Page(harness).call("POST", "/bff/refresh", found)
    assert (200, 1) == (answer.status_code, answer.json()["session"]["rotations"])
    assert ["1/r1"] == harness.provider.sent
