"""POST /bff/events/ssf: the provider's security events end sessions, and nobody else's do."""

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from joserfc import jwt
from structlog.testing import capture_logs

from bff.errors import StoreUnavailableError
from tests.support.processes.redis import RedisServer
from tests.support.providers.provider import KEY, ServedProvider
from tests.web.site import Browser, Site, running_site

PATH = "/bff/events/ssf"
EVENTS = "https://schemas.openid.net/secevent/"
REVOKED = f"{EVENTS}caep/event-type/session-revoked"
DISABLED = f"{EVENTS}risc/event-type/account-disabled"
TYPE = {"content-type": "application/secevent+jwt"}


@pytest.fixture
async def site(redis_server: RedisServer, provider: ServedProvider) -> AsyncIterator[Site]:
    async with running_site(redis_server, provider, signals_issuer=provider.base) as site:
        yield site


def event(site: Site, uri: str = REVOKED, **changes: Any) -> str:
    claims: dict[str, Any] = {
        "iss": site.provider.base,
        "aud": "spa-bff",
        "iat": time.time(),
        "jti": "the-jti",
        "sub_id": {"format": "iss_sub", "iss": site.provider.base, "sub": "alice"},
        "events": {uri: {}},
    }
    return jwt.encode({"alg": "RS256", "kid": "one", "typ": "secevent+jwt"}, claims | changes, KEY)


async def push(site: Site, token: str, **headers: str) -> httpx.Response:
    """Posts a token as a transmitter does: no cookie, no header of a browser."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(site.app), base_url=site.base) as client:
        return await client.post(PATH, content=token, headers=TYPE | headers)


async def person(site: Site, **claims: Any) -> str:
    """Somebody who is signed in; the handle."""
    site.provider.claims = claims
    browser: Browser = site.browser()
    await site.sign_in(browser)
    handle = browser.session()
    assert handle is not None
    return handle


@pytest.mark.requirement("P-11")
async def test_an_event_ends_what_it_names(site: Site) -> None:
    """202; one session by user and session, then all of the user's; bob's stands. The audit log tells."""
    one, other = await person(site), await person(site, sid="another-session")
    bob = await person(site, sub="bob", sid="bobs-session")
    user = {"format": "iss_sub", "iss": site.provider.base, "sub": "alice"}
    named = {"format": "complex", "user": user, "session": {"format": "opaque", "id": "another-session"}}
    with capture_logs() as logs:
        answer = await push(site, event(site, sub_id=named))
    assert (202, b"", "no-store") == (answer.status_code, answer.content, answer.headers["cache-control"])
    assert [None, "security_signal", None] == [await site.reason_of(each) for each in (one, other, bob)]
    (line,) = [line for line in logs if line["event"] == "security_signal_taken"]
    assert ("alice", "another-session", "session-revoked", 1) == tuple(
        line[name] for name in ("sub", "sid", "reason", "sessions")
    )
    assert 202 == (await push(site, event(site, DISABLED, jti="second"))).status_code
    assert ["security_signal", None] == [await site.reason_of(each) for each in (one, bob)]


@pytest.mark.requirement("P-11")
async def test_a_token_acts_once(site: Site) -> None:
    """One that comes again is answered as before, and ends nothing: a session begun since then goes on."""
    token = event(site)
    assert 202 == (await push(site, token)).status_code
    handle = await person(site)
    assert 202 == (await push(site, token)).status_code
    assert await site.reason_of(handle) is None


@pytest.mark.requirement("P-11")
async def test_what_is_not_believed_ends_nothing(site: Site) -> None:
    """400 with the error code of RFC 8935; the audit log has the reason; a form or a large body likewise."""
    handle = await person(site)
    bad = {
        "invalid_issuer": event(site, iss="https://another.example"),
        "invalid_audience": event(site, aud="another"),
        "invalid_request": event(site, iat=time.time() - 3 * 86400),
        "invalid_key": event(site)[:-8] + "AAAAAAAA",
    }
    for error, token in bad.items():
        site.clock.ahead += 6  # else the keys have just been fetched, and the transmitter is to try again
        with capture_logs() as logs:
            answer = await push(site, token)
        assert (400, error) == (answer.status_code, answer.json()["err"])
        assert answer.json()["description"]
        assert ["security_signal_rejected"] == [
            line["event"] for line in logs if line["log_level"] == "warning" or "reason" in line
        ]
    for token, headers in (
        (event(site), {"content-type": "application/jwt"}),
        ("x" * 100_000, {}),
        ("é", {}),
        ("", {}),
    ):
        assert 400 == (await push(site, token, **headers)).status_code
    assert await site.reason_of(handle) is None


@pytest.mark.requirement("P-11")
async def test_what_nobody_asked_for_is_taken_and_does_nothing(
    redis_server: RedisServer, provider: ServedProvider
) -> None:
    """202 for a verification, an event that the settings leave out, and a user whom nobody can know."""
    options: dict[str, Any] = {
        "signals_issuer": provider.base,
        "signals_jwks_uri": f"{provider.base}/jwks",
        "signals_audience": ("https://app.example/",),
        "signals_events": ("account-disabled",),
    }
    async with running_site(redis_server, provider, **options) as site:
        handle = await person(site)
        mail = {"format": "email", "email": "alice@example.com"}
        with capture_logs() as logs:
            for token in (
                event(site, f"{EVENTS}ssf/event-type/verification", aud="https://app.example/"),
                event(site, REVOKED, aud="https://app.example/"),
                event(site, DISABLED, aud="https://app.example/", sub_id=mail),
            ):
                assert 202 == (await push(site, token)).status_code
        told = [line["reason"] for line in logs if line["event"] == "security_signal_ignored"]
        assert ["verification", "event", "subject"] == told
        assert await site.reason_of(handle) is None
        assert 400 == (await push(site, event(site, DISABLED))).status_code  # client_id is no audience then
        assert "/.well-known/ssf-configuration" not in provider.paths


async def test_the_transmitter_tries_again_what_a_failure_kept_us_from(site: Site) -> None:
    """503 without its keys, and without Redis; afterwards the same token does its work."""
    handle, token = await person(site), event(site)
    site.provider.stop()
    assert (503, "provider_unavailable") == _problem(await push(site, token))
    site.provider.start()
    site.clock.ahead += 6  # the pause after a fetch that failed
    assert 202 == (await push(site, event(site, jti="of-nobody", sub_id=None))).status_code
    site.redis.stop()
    assert (503, "store_unavailable") == _problem(await push(site, token))
    site.redis.start()
    assert 202 == (await push(site, token)).status_code
    assert "security_signal" == await site.reason_of(handle)


@pytest.mark.requirement("P-11")
async def test_a_token_whose_work_was_broken_off_does_it_later(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis fails between the looks at the token and at the sessions: 503, and the token still counts."""
    handle, token, bulk = await person(site), event(site), site.sessions.bulk
    with monkeypatch.context() as patched:
        patched.setattr(bulk, "end_all", _failing)
        assert (503, "store_unavailable") == _problem(await push(site, token))
    assert await site.reason_of(handle) is None
    assert 202 == (await push(site, token)).status_code
    assert "security_signal" == await site.reason_of(handle)


async def _failing(*_: Any, **__: Any) -> int:
    raise StoreUnavailableError


def _problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_without_a_transmitter_there_is_no_endpoint(
    redis_server: RedisServer, provider: ServedProvider
) -> None:
    """404, as for any path of ours that there is not."""
    async with running_site(redis_server, provider) as site:
        assert 404 == (await push(site, event(site))).status_code
