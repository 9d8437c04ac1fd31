"""Sign-ins that `provider.allow` turns away; claims that only userinfo has, at a sign-in and a refresh."""

from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from bff.oidc.client import OidcClient
from bff.session.sessions import Found
from bff.settings.claim_rule import parse_rule
from tests.support.processes.redis import RedisServer
from tests.support.providers.provider import ServedProvider
from tests.support.wait import until
from tests.web.site import Site, running_site

STAFF = parse_rule({"groups": ["staff"]})
GROUPS: dict[str, Any] = {"sub": "alice", "groups": ["staff"]}


async def sign_in(site: Site, path: str = "/bff/login") -> tuple[httpx.Response, bool]:
    """The last answer of a sign-in, and whether there is a session."""
    browser = site.browser()
    answer = await site.sign_in(browser, path)
    return answer, isinstance(await site.signed_in(browser), Found)


@pytest.mark.requirement("P-07")
async def test_who_is_not_let_in(redis_server: RedisServer, provider: ServedProvider) -> None:
    """403 and no session, whatever the page asked for; the tokens are revoked, the audit log says who."""
    provider.claims = {"groups": ["staffing", "Staff"]}
    async with running_site(redis_server, provider, allow=STAFF) as site:
        before = set(site.redis.cli("KEYS", "bff:session:*").split())
        with capture_logs() as lines:
            answer, inside = await sign_in(site)
        assert (403, "not_allowed", False) == (answer.status_code, answer.json()["code"], inside)
        assert "/bff/login?prompt=select_account" == answer.json()["other_account_url"]
        assert before == set(site.redis.cli("KEYS", "bff:session:*").split())
        await until(lambda: len(provider.revoked) == 1)
        (told,) = [line for line in lines if line["event"] == "sign_in_failed"]
        assert ("not_allowed", "alice") == (told["reason"], told["sub"])
        provider.claims = {"groups": ["staff"]}
        answer, inside = await sign_in(site)
        assert (303, True) == (answer.status_code, inside)


async def test_a_former_session_stays(redis_server: RedisServer, provider: ServedProvider) -> None:
    """Who is turned away as somebody else is still signed in as before, after a repeated callback too."""
    provider.claims = {"groups": ["staff"]}
    async with running_site(redis_server, provider, allow=STAFF, login_params=()) as site:
        browser = site.browser()
        await site.sign_in(browser)
        former = browser.session()
        provider.claims = {"groups": None, "sub": "mallory"}
        answer = await site.sign_in(browser)
        assert 403 == answer.status_code
        assert "other_account_url" not in answer.json()
        again = await browser.get("/bff/callback/finish")
        assert (303, former) == (again.status_code, browser.session())
        found = await site.signed_in(browser)
        assert isinstance(found, Found)
        assert "alice" == found.session.sub


@pytest.mark.requirement("P-07", "P-08")
@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        ((200, GROUPS), 303, None),
        ((200, {"sub": "alice"}), 403, "not_allowed"),
        ((200, GROUPS | {"sub": "mallory"}), 503, "provider_unavailable"),
        ((500, {}), 503, "provider_unavailable"),
        (None, 403, "not_allowed"),
    ],
)
async def test_groups_that_only_userinfo_has(
    redis_server: RedisServer,
    provider: ServedProvider,
    answer: tuple[int, Any] | None,
    status: int,
    code: str | None,
) -> None:
    """They count if the answer is about the same sub; where it failed nobody is said to be not allowed."""
    provider.userinfo_answer = answer
    async with running_site(redis_server, provider, allow=STAFF, claims=("name",)) as site:
        got, inside = await sign_in(site)
        assert (status, status == 303) == (got.status_code, inside)
        assert code == (got.json()["code"] if got.content else None)


@pytest.mark.requirement("P-07")
async def test_a_claim_that_userinfo_has_no_more_goes_with_its_members(
    redis_server: RedisServer, provider: ServedProvider
) -> None:
    """A rule about a member of a claim (`realm_access.roles`): without the claim there is no member."""
    provider.userinfo_answer = (200, {"sub": "alice"})
    async with running_site(redis_server, provider, needed=["realm_access.roles"]) as site:
        got = await site.client.refreshed_claims(None, sub="alice", access_token="a")
        assert {"sub": "alice", "realm_access.roles": None, "realm_access": None} == got
        provider.userinfo_answer = (200, {"sub": "alice", "realm_access": {}})
        got = await site.client.refreshed_claims(None, sub="alice", access_token="a")
        assert {"sub": "alice", "realm_access.roles": None, "realm_access": {}} == got


FORMER = {"sub": "alice", "name": "Alice"}


@pytest.mark.requirement("P-08")
@pytest.mark.parametrize(
    ("expected", "setting", "claims", "answer"),
    [
        ({**FORMER, "groups": ["staff"]}, "auto", FORMER, (200, GROUPS)),
        (GROUPS, "auto", None, (200, GROUPS)),
        ({**FORMER, "groups": None}, "auto", FORMER, (200, {"sub": "alice", "groups": None})),
        ({"sub": "alice", "groups": None}, "auto", None, (200, {"sub": "alice"})),
        (None, "auto", None, (200, GROUPS | {"sub": "mallory"})),
        (None, "auto", None, (500, {})),
        (None, "auto", None, None),
        (None, "never", None, (200, GROUPS)),
        ({**FORMER, "groups": []}, "auto", {**FORMER, "groups": []}, (200, GROUPS)),
        ({**GROUPS, "groups": []}, "always", {**GROUPS, "groups": []}, (200, GROUPS)),
    ],
)
async def test_a_refresh_asks_for_what_a_rule_needs(  # noqa: PLR0917 - fixtures and the columns of the table
    redis_server: RedisServer,
    provider: ServedProvider,
    expected: Any,
    setting: str,
    claims: Any,
    answer: tuple[int, Any] | None,
) -> None:
    """A good answer tells all, also that a claim is gone; any other leaves the refresh as it is."""
    provider.userinfo_answer = answer
    async with running_site(redis_server, provider, needed=["groups"], userinfo=setting) as site:
        client: OidcClient = site.client
        asked = provider.paths.count("/userinfo")
        got = await client.refreshed_claims(claims, sub="alice", access_token="a")
        assert expected == got
        wanted = setting == "always" or (setting == "auto" and "groups" not in (claims or {}))
        assert (wanted and answer is not None) == provider.paths.count("/userinfo") - asked
