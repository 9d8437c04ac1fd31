"""Sign in, call an API, rotate, sign out: the main job, end to end on real sockets."""

import asyncio
import re

import pytest

from bff.crypto import Keyring, new_secret
from tests.support.network.backend import Received, Reply
from tests.support.processes.world import World

pytestmark = pytest.mark.usefixtures("both_fronts")
JWT = re.compile(r"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}")


def everything(world: World) -> str:
    """All that the proxy ever told its clients: status, headers, bodies, cookies."""
    parts = []
    for browser in world.browsers:
        for answer in browser.answers:
            if str(answer.url).startswith(world.url):
                allowed_hint = answer.url.path == "/bff/logout/continue"
                parts += [
                    f"{name}: {value}"
                    for name, value in answer.headers.multi_items()
                    if not (allowed_hint and name == "location")
                ]
                parts.append(answer.text)
    return "\n".join(parts)


@pytest.mark.requirement("B-01", "B-08", "B-28", "T-11", "L-01", "O-07")
async def test_the_main_job(world: World) -> None:
    """A browserless client signs in, calls 200, after the token's end 200 again with one refresh, signs out.

    Nothing that the proxy answers in all that holds a JWT, a refresh token, a code verifier or the secret.
    """
    browser = await world.signed_in()
    first = await browser.call("/api/orders?page=2")
    assert (200, '{"orders":[]}') == (first.status_code, first.text)
    assert b"/orders?page=2" == world.backend.requests[0].target
    assert world.backend.requests[0].values(b"authorization")[0].startswith(b"Bearer eyJ")

    world.clock.ahead = 305
    second = await browser.call("/api/orders")
    assert 200 == second.status_code
    assert 1 == world.refreshes
    tokens = [request.values(b"authorization")[0] for request in world.backend.requests]
    assert tokens[0] != tokens[1]
    user = (await browser.user()).json()
    assert (1, "Alice") == (user["session"]["rotations"], user["claims"]["name"].split()[0])

    out = await browser.call("/bff/logout", "POST")
    assert (200, "/bff/logout/continue", True) == (
        out.status_code,
        out.json()["redirect"],
        out.json()["provider_revoked"],
    )
    end_session = await browser.client.get(out.json()["redirect"])
    assert end_session.headers["location"].startswith(world.issuer.url)
    assert browser.handle is None
    assert "session_missing" == (await browser.call("/api/orders")).json()["code"]

    told = everything(world)
    assert not JWT.search(told)
    sent = [value for _, _, form in world.issuer.seen.requests for value in form.values()]
    secrets = {form["code_verifier"] for _, _, form in world.issuer.seen.requests if "code_verifier" in form}
    secrets |= {form["refresh_token"] for _, _, form in world.issuer.seen.requests if "refresh_token" in form}
    secrets |= {form["code"] for _, _, form in world.issuer.seen.requests if "code" in form}
    assert len(secrets) >= 3
    assert sent
    assert [] == [secret for secret in [*secrets, world.issuer.client_secret] if secret in told]


@pytest.mark.requirement("B-22", "B-08")
async def test_an_operator_sees_and_ends_a_session(world: World) -> None:
    """HGETALL shows who and when and nothing that opens an account; DEL ends the session at once."""
    browser = await world.signed_in()
    shown = world.redis.cli("HGETALL", browser.session_key)
    assert "Alice" in shown
    assert not JWT.search(shown)
    assert browser.handle is not None
    assert browser.handle not in shown
    assert 200 == (await browser.call("/api/orders")).status_code
    world.redis.cli("DEL", browser.session_key)
    answer = await browser.call("/api/orders")
    assert (401, "session_ended", "/bff/login") == (
        answer.status_code,
        answer.json()["code"],
        answer.json()["login_url"],
    )
    assert "set-cookie" not in answer.headers
    assert 1 == len(world.backend.requests)


@pytest.mark.requirement("T-10", "B-35")
async def test_sessions_survive_an_outage_of_redis(world: World) -> None:
    """Redis stopped: 503, the cookie untouched; started again with its data: the session works."""
    browser = await world.signed_in()
    world.redis.stop()
    for path in ("/api/orders", "/bff/user"):
        answer = await browser.call(path)
        assert (503, "store_unavailable") == (answer.status_code, answer.json()["code"])
        assert "retry-after" in answer.headers
        assert "set-cookie" not in answer.headers
    world.redis.start()
    assert 200 == (await browser.call("/api/orders")).status_code


@pytest.mark.requirement("B-09", "B-10", "B-11")
async def test_foreign_requests_are_refused(world: World) -> None:
    """A cross-site POST, a GET without the header, a foreign Origin: 403, and no call to the backend."""
    foreign: list[dict[str, str]] = [
        {},
        {"X-CSRF": "0"},
        {"X-CSRF": "1", "Sec-Fetch-Site": "cross-site"},
        {"X-CSRF": "1", "Sec-Fetch-Site": "same-site"},
        {"X-CSRF": "1", "Sec-Fetch-Site": "none"},
        {"X-CSRF": "1", "Origin": "https://evil.example"},
        {"X-CSRF": "1", "Origin": "null"},
    ]
    requests = [("POST", "/api/orders"), ("GET", "/api/orders"), ("GET", "/bff/user")]
    requests += [("POST", "/bff/refresh"), ("POST", "/bff/logout")]
    browser = await world.signed_in()
    for headers in foreign:
        for method, path in requests:
            answer = await browser.client.request(method, path, headers=headers)
            assert (403, "csrf_rejected") == (answer.status_code, answer.json()["code"])
    assert [] == world.backend.requests
    assert 200 == (await browser.call("/api/orders")).status_code


@pytest.mark.requirement("B-20", "B-32", "B-33")
async def test_cookies_that_were_not_made_here(world: World) -> None:
    """One bit flipped, characters added, the cookie twice, another key's cookie: nobody is signed in."""
    browser = await world.signed_in()
    handle = browser.handle
    assert handle is not None
    other = ("A" if handle[0] != "A" else "B") + handle[1:]
    foreign = Keyring([new_secret()]).new_handle()
    cookies = [
        f"bff={other}",
        f"bff={handle}=",
        f"bff={handle}!",
        f"bff= {handle}a",
        f'bff="{handle}"',
        f"bff={handle}; bff={handle}",
        f"bff={foreign}; bff={handle}",
        f"bff={foreign}",
        f"\xa0bff={handle}",
    ]
    browser.client.cookies.clear()
    for cookie in cookies:
        answer = await browser.call("/api/orders", headers={"Cookie": cookie.encode("latin-1")})
        assert (401, "session_missing") == (answer.status_code, answer.json()["code"]), cookie
    assert [] == world.backend.requests
    assert 200 == (await browser.call("/api/orders", headers={"Cookie": f"bff={handle}"})).status_code


@pytest.mark.requirement("B-31")
async def test_an_edited_record_is_no_session(world: World) -> None:
    """Who can write Redis cannot become somebody else."""
    browser = await world.signed_in()
    world.redis.cli("HSET", browser.session_key, "sub", "bob")
    answer = await browser.call("/api/orders")
    assert (401, "session_ended", "tampered") == (
        answer.status_code,
        answer.json()["code"],
        answer.json()["reason"],
    )


@pytest.mark.requirement("B-14", "B-15", "B-17")
async def test_what_a_backend_gets_to_see(world: World) -> None:
    """No cookie, no Authorization of the client's, no forged forwarding; ours instead."""
    browser = await world.signed_in()
    await browser.call(
        "/api/orders",
        headers={
            "Authorization": "Bearer forged",
            "X-Forwarded-For": "203.0.113.9",
            "X-Forwarded-Host": "evil.example",
            "X_Forwarded_Proto": "gopher",
            "X-Original-URL": "/admin",
        },
    )
    seen = world.backend.requests[0]
    assert [] == seen.values(b"cookie")
    assert [b"127.0.0.1"] == seen.values(b"x-forwarded-for")
    assert [world.url.partition("//")[2].encode()] == seen.values(b"x-forwarded-host")
    assert [b"http"] == seen.values(b"x-forwarded-proto")
    assert 1 == len(seen.values(b"authorization"))
    assert b"forged" not in seen.raw_head
    for name in (b"x_forwarded_proto", b"x-original-url", b"x-csrf"):
        assert [] == seen.values(name)


@pytest.mark.requirement("T-11")
async def test_a_backends_401_is_healed_once_with_the_body(world: World) -> None:
    """A POST that meets a 401 is repeated with fresh tokens and its whole body; never a second time."""
    browser = await world.signed_in()
    refused: set[bytes] = set()

    async def revoking(request: Received) -> Reply:
        token = request.values(b"authorization")[0]
        if not refused or token in refused:
            refused.add(token)
            return Reply(401, [(b"www-authenticate", b'Bearer error="invalid_token"')], b"no")
        return Reply(201, body=request.body)

    world.reply = revoking
    body = b"x" * 50_000
    answer = await browser.call("/api/orders", "POST", content=body)
    assert (201, body) == (answer.status_code, answer.content)
    assert 1 == world.refreshes
    assert [body, body] == [request.body for request in world.backend.requests]

    async def always(_: Received) -> Reply:
        return Reply(401, body=b"wrong password")

    world.reply = always
    answer = await browser.call("/api/orders")
    assert (401, "1", b"wrong password") == (
        answer.status_code,
        answer.headers["bff-upstream"],
        answer.content,
    )
    assert 2 == world.refreshes


@pytest.mark.requirement("B-05", "B-06", "B-03", "B-25")
async def test_the_cookie(world: World) -> None:
    """HttpOnly, Strict, for the whole origin, no Domain, no lifetime; never set with a cacheable answer."""
    browser = await world.signed_in()
    setting = [
        (answer, value)
        for answer in browser.answers
        for value in answer.headers.get_list("set-cookie")
        if str(answer.url).startswith(world.url)
    ]
    session = [value for _, value in setting if value.startswith("bff=")]
    assert 1 == len(session)
    assert "; Path=/; HttpOnly; SameSite=Strict" == session[0].removeprefix(f"bff={browser.handle}")
    assert all("no-store" in answer.headers["cache-control"] for answer, _ in setting)
    assert all("HttpOnly" in value and "Domain" not in value for _, value in setting)


@pytest.mark.requirement("B-19")
async def test_signing_in_again_ends_the_former_session(world: World) -> None:
    """The new session has a new handle, and the old one is over at once."""
    browser = await world.signed_in()
    former = browser.handle
    await browser.sign_in()
    assert browser.handle != former
    other = await world.browser()
    answer = await other.call("/api/orders", headers={"Cookie": f"bff={former}"})
    assert (401, "signed_in_again") == (answer.status_code, answer.json()["reason"])


@pytest.mark.requirement("T-01")
async def test_many_calls_share_one_rotation(world: World) -> None:
    """Fifty calls with an expired token: one call of the token endpoint, fifty good answers."""
    browser = await world.signed_in()
    world.clock.ahead = 400
    world.issuer.seen.delay = 0.2
    answers = await asyncio.gather(*(browser.call("/api/orders") for _ in range(50)))
    assert {200} == {answer.status_code for answer in answers}
    assert 1 == world.refreshes


@pytest.mark.requirement("O-04")
async def test_return_to_stays_here(world: World) -> None:
    """No open redirect, and none onto an API."""
    browser = await world.browser()
    for return_to in (
        "//evil.example",
        "/\\evil",
        "https:evil",
        "/%2f/evil.example",
        "/\t/evil",
        "/\x00",
        "/api/orders",
        "/bff/user",
    ):
        answer = await browser.client.get("/bff/login", params={"return_to": return_to})
        assert (400, "bad_return_to") == (answer.status_code, answer.json()["code"])
