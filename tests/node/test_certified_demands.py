"""What a backend or a page demands of a sign-in at a certified provider: its strength, and what it allows."""

from typing import Any

import pytest

from tests.issuer.flow import payload_of
from tests.node.certified import API, EC_KEY, Certified, Proxy, by_key, running_proxy
from tests.support.network.backend import Received, Reply
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import JSON, Browser

STRONGER = 'Bearer error="insufficient_user_authentication", acr_values="{}"'


@pytest.mark.requirement("P-06")
@pytest.mark.parametrize(("wanted", "obeys"), [("mfa", True), ("phr", False)])
async def test_a_backend_asks_for_a_stronger_sign_in(
    redis_server: RedisServer, certified: Certified, *, wanted: str, obeys: bool
) -> None:
    """The whole way: its 401, our `login_url`, the provider, and the call again; the backend reads the token.

    A provider that comes back with a weaker sign-in changes nothing: the session is as it was.
    """

    async def strict(request: Received) -> Reply:
        (token,) = request.values(b"authorization")
        if wanted == payload_of(token.decode().removeprefix("Bearer "))["acr"]:
            return Reply(body=b"{}", headers=[JSON])
        return Reply(401, [(b"www-authenticate", STRONGER.format(wanted).encode())])

    async with running_proxy(redis_server, certified, reply=strict, resource=[API]) as proxy:
        browser = await proxy.signed_in()
        handle, before = browser.handle, (await browser.user()).json()["session"]
        refused = await browser.call("/api/orders", "POST", json={"order": 7})
        assert (401, "step_up_required") == (refused.status_code, refused.json()["code"])
        login = refused.json()["login_url"]
        assert f"/bff/login?step_up=1&acr_values={wanted}" == login
        landed = await browser.follow(await browser.client.get(f"{login}&return_to=/there"))
        again = await browser.call("/api/orders", "POST", json={"order": 7})
        after = (await browser.user()).json()["session"]
        assert "/there" == landed.url.path
        if obeys:
            assert 200 == again.status_code, again.text
            assert before["created_at"] == after["created_at"]
            assert (before["id"], handle) != (after["id"], browser.handle)
            assert [401, 200] == [await status_with(proxy, handle), await status_with(proxy, browser.handle)]
        else:
            assert "bff_error=step_up_failed" in str(landed.url)
            assert (401, login) == (again.status_code, again.json()["login_url"])
            assert (before["id"], handle) == (after["id"], browser.handle)


async def status_with(proxy: Proxy, handle: str | None) -> int:
    """The answer to another browser with this cookie."""
    other = await proxy.browser()
    other.client.cookies.set("bff", handle or "")
    return (await other.user()).status_code


@pytest.mark.requirement("P-05")
@pytest.mark.parametrize(
    "settings",
    [{}, {**by_key(EC_KEY), "client_id": "by-jar", "request_object": True, "par": "never"}],
    ids=["pushed", "signed"],
)
async def test_details_are_asked_for_and_granted(
    redis_server: RedisServer, certified: Certified, settings: dict[str, Any]
) -> None:
    """The backend's token holds those of each sign-in, and those of a name once a page has asked for it.

    What the provider does not take stays there: the session before it lives on (RFC 9396).
    """
    accounts = {"type": "accounts", "actions": ["read"]}
    payment = {"type": "payment", "instructedAmount": {"currency": "EUR", "amount": "12.50"}}
    named = {"payment": [payment], "incomplete": [{"type": "payment"}], "unknown": [{"type": "x"}]}
    details: dict[str, Any] = {"authorization_details": [accounts], "login_authorization_details": named}
    details["resource"] = [API]
    async with running_proxy(redis_server, certified, **settings, **details) as proxy:
        browser = await proxy.signed_in()
        assert [accounts] == await granted(proxy, browser)
        assert 200 == (await browser.call("/bff/refresh", "POST")).status_code
        assert [accounts] == await granted(proxy, browser)
        login = "/bff/login?return_to=/&authorization_details="
        await browser.follow(await browser.client.get(f"{login}payment"))
        assert [accounts, payment] == await granted(proxy, browser)
        handle = browser.handle
        for name in ("incomplete", "unknown"):
            await browser.follow(await browser.client.get(login + name))
            assert 503 == browser.answers[-1].status_code or "bff_error" in str(browser.answers[-1].url)
        assert handle == browser.handle
        assert [accounts, payment] == await granted(proxy, browser)
        told = [str(event.get("error")) for event in certified.events()]
        assert 2 <= len([error for error in told if "invalid_authorization_details" in error])


async def granted(proxy: Proxy, browser: Browser) -> Any:
    """The details in the access token that the backend gets."""
    return payload_of(await proxy.token(browser))["authorization_details"]
