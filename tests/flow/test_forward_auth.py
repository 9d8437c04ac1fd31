"""The endpoint that a reverse proxy asks for the token of a call, which it forwards itself."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from tests.issuer.flow import payload_of
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import CSRF, Browser, World, running_world

SECRET, OLDER = "8c1f9f0b4e6d4d2ab0f1f5f6c7a3e9d2", "11c20c9a7f3e4b58b6d0a49e5d7f8a6b"
ASK = "/bff/forward-auth"
PROOF = {"BFF-Forward-Auth": SECRET}
ORDERS = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/api/orders?page=2"}
EXPIRED = 400  # seconds: the tokens of these tests live 300


@pytest.fixture
async def world(redis_server: RedisServer) -> AsyncIterator[World]:
    route = {"audience": "orders", "rate_per_session": "5/h", "methods": ["GET", "POST"]}
    async with running_world(
        redis_server,
        route=route,
        routes=[
            {"path": "/staff", "allow": {"sub": ["nobody"]}},
            {"path": "/named", "token": "none", "headers": {"X-User": "sub"}},
        ],
        client={"audiences": ["orders"]},
        forward_auth={"secrets": [SECRET, OLDER], "hosts": ["bff:8080"]},
    ) as world:
        yield world


async def ask(browser: Browser, *headers: Mapping[str, str], path: str = ASK, **more: Any) -> httpx.Response:
    """Asks as a reverse proxy does, with what the browser sends."""
    together: dict[str, str] = {**CSRF}
    for part in headers:
        together |= part
    return await browser.client.request(more.pop("method", "GET"), path, headers=together, **more)


def told(answer: httpx.Response) -> tuple[int, str]:
    """A refusal's status and code; it holds no token, and is kept by no cache."""
    assert "authorization" not in answer.headers
    assert "no-store" == answer.headers["cache-control"]
    return answer.status_code, answer.json()["code"]


@pytest.mark.usefixtures("both_fronts")
@pytest.mark.requirement("P-13", "B-08")
async def test_the_token_is_for_who_has_the_secret(world: World) -> None:
    """Without proof the endpoint is as any that there is not, and the attempt is audited."""
    browser = await world.signed_in()
    unknown = await ask(browser, path="/bff/forward-bath")
    guesses: list[dict[str, str]] = [{}, {"BFF-Forward-Auth": SECRET[:-1] + "3"}, {"BFF-Forward-Auth": ""}]
    with capture_logs() as lines:
        refused = [await ask(browser, ORDERS, guess) for guess in guesses]
        refused += [await ask(browser, guesses[1], path=f"{ASK}/api/orders")]
    for answer in refused:
        assert (404, "no_route") == told(answer)
        names = [name for name, _ in answer.headers.raw if name.lower() != b"date"]
        assert sorted(names) == sorted(name for name, _ in unknown.headers.raw if name.lower() != b"date")
        assert unknown.content == answer.content
    audited = [line for line in lines if line["event"] == "forward_auth_refused"]
    wrong = "secret_wrong"
    assert ["secret_missing", wrong, wrong, wrong] == [line["reason"] for line in audited]
    assert {"127.0.0.1"} == {line["address"] for line in audited}

    for secret in (SECRET, OLDER):
        answer = await ask(browser, ORDERS, {"BFF-Forward-Auth": secret})
        assert (200, b"", "no-store") == (answer.status_code, answer.content, answer.headers["cache-control"])
    scheme, _, token = answer.headers["authorization"].partition(" ")
    assert ("Bearer", "orders") == (scheme, payload_of(token)["aud"])
    assert "set-cookie" not in answer.headers
    assert [] == world.backend.requests


@pytest.mark.usefixtures("both_fronts")
@pytest.mark.requirement("P-13", "B-09", "B-12", "B-13")
async def test_the_rules_of_a_forwarded_call(world: World) -> None:
    """Routes, methods, the guard, sessions and rates are the same; nginx can have 401 for every refusal."""
    browser = await world.signed_in()
    stranger = await world.browser()
    post = {**ORDERS, "X-Forwarded-Method": "DELETE"}
    refusals: list[tuple[int, str, Browser, dict[str, str]]] = [
        (401, "session_missing", stranger, ORDERS),
        (403, "csrf_rejected", browser, {**ORDERS, "Sec-Fetch-Site": "cross-site"}),
        (403, "csrf_rejected", browser, {**ORDERS, "Origin": "https://evil.example"}),
        (404, "no_route", browser, {**ORDERS, "X-Forwarded-Uri": "/elsewhere"}),
        (405, "method_not_allowed", browser, post),
        (400, "bad_request", browser, {**ORDERS, "X-Forwarded-Uri": "/api/a%2f..%2fb"}),
        (400, "bad_request", browser, {**ORDERS, "X-Original-URI": "/api/other"}),
        (421, "wrong_host", browser, {**ORDERS, "X-Forwarded-Host": "evil.example"}),
    ]
    for status, code, who, headers in refusals:
        assert (status, code) == told(await ask(who, PROOF, headers))
        assert (401, code) == told(await ask(who, PROOF, headers, path=f"{ASK}?refusal=401"))
    allowed = await ask(browser, PROOF, post)
    assert "GET, POST" == allowed.headers["allow"]
    page = {"Sec-Fetch-Mode": "navigate", "Accept": "text/html"}
    assert "text/html" in (await ask(stranger, PROOF, ORDERS, page)).headers["content-type"]

    behind = await ask(browser, PROOF, path=f"{ASK}/api/orders?page=2", method="POST")
    assert 200 == behind.status_code
    staff, named = ({**ORDERS, "X-Forwarded-Uri": path} for path in ("/staff/a", "/named/a"))
    assert (403, "not_allowed") == told(await ask(browser, PROOF, staff))
    user = await ask(browser, PROOF, named)
    assert (200, (await browser.user()).json()["sub"]) == (user.status_code, user.headers["x-user"])
    assert "authorization" not in user.headers
    assert (400, "bad_request") == told(await ask(browser, PROOF, named, {"X-User": "root"}))
    for _ in range(4):
        await ask(browser, PROOF, ORDERS)
    limited = await ask(browser, PROOF, ORDERS)
    assert (429, "rate_limited") == told(limited)
    assert "retry-after" in limited.headers


@pytest.mark.requirement("P-13", "B-21")
async def test_tokens_are_refreshed_when_due_and_sessions_end(world: World) -> None:
    """A token that has ended is never told: it is rotated first; a session that has ended has none."""
    browser = await world.signed_in()
    first = await ask(browser, PROOF, ORDERS)
    world.clock.ahead += EXPIRED
    second = await ask(browser, PROOF, ORDERS)
    assert 1 == world.refreshes
    assert first.headers["authorization"] != second.headers["authorization"]
    by_name = {"Host": "bff:8080", "X-Forwarded-Host": world.url.removeprefix("http://")}
    assert 200 == (await ask(browser, PROOF, ORDERS, by_name)).status_code  # as Traefik does
    assert (421, "wrong_host") == told(await ask(browser, PROOF, ORDERS, {"Host": "bff:8080"}))
    assert 421 == (await browser.call("/bff/user", headers={"Host": "bff:8080"})).status_code
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    assert (400, "bad_request") == told(await ask(browser, PROOF, ORDERS, upgrade))
    world.redis.cli("DEL", browser.session_key)
    assert (401, "session_ended") == told(await ask(browser, PROOF, ORDERS))


@pytest.mark.requirement("S-09")
async def test_secrets_change_while_it_runs(world: World) -> None:
    """One that is taken away proves nothing any more; without any there is no endpoint."""
    browser = await world.signed_in()
    settings = world.app.settings
    gone = settings.model_copy(
        update={
            "forward_auth": settings.forward_auth.model_copy(
                update={"secrets": settings.forward_auth.secrets[1:]}
            )
        }
    )
    assert ("forward_auth.secrets",) == (await world.app.reload(gone)).changed
    assert (404, "no_route") == told(await ask(browser, PROOF, ORDERS))
    assert 200 == (await ask(browser, ORDERS, {"BFF-Forward-Auth": OLDER})).status_code
    none = gone.model_copy(update={"forward_auth": gone.forward_auth.model_copy(update={"secrets": ()})})
    await world.app.reload(none)
    with capture_logs() as lines:
        assert (404, "no_route") == told(await ask(browser, ORDERS, {"BFF-Forward-Auth": OLDER}))
    assert [] == [line for line in lines if line["event"] == "forward_auth_refused"]
