"""`BearerAuth`: what a service says to requests without a good token."""

from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bff.verify import BearerAuth, Refusal, TokenRefusedError, bearer_token
from bff.verify.claims import challenge, credentials
from tests.verify.tokens import token, verifier


def test_challenges_follow_rfc_6750() -> None:
    """No error code where no token came, else one that says what to do."""
    assert "Bearer" == challenge(Refusal.MISSING)
    assert 'Bearer error="invalid_token", error_description="expired"' == challenge(Refusal.EXPIRED)
    assert 'Bearer error="invalid_token", error_description="expired"' == challenge(Refusal.EXPIRED, {"a"})
    assert 'Bearer error="insufficient_scope", error_description="scope"' == challenge(Refusal.SCOPE)
    assert 'Bearer error="insufficient_scope", error_description="scope", scope="a b"' == challenge(
        Refusal.SCOPE, {"b", "a"}
    )
    assert {401, 400, 403, 503} == {refusal.status for refusal in Refusal}


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (Refusal.MISSING, ("missing", 401, None)),
        (Refusal.DOUBLED, ("doubled", 400, "invalid_request")),
        (Refusal.MALFORMED, ("malformed", 401, "invalid_token")),
        (Refusal.ALGORITHM, ("algorithm", 401, "invalid_token")),
        (Refusal.TYPE, ("type", 401, "invalid_token")),
        (Refusal.UNKNOWN_KEY, ("unknown_key", 401, "invalid_token")),
        (Refusal.SIGNATURE, ("signature", 401, "invalid_token")),
        (Refusal.ISSUER, ("issuer", 401, "invalid_token")),
        (Refusal.AUDIENCE, ("audience", 401, "invalid_token")),
        (Refusal.EXPIRED, ("expired", 401, "invalid_token")),
        (Refusal.NOT_YET, ("not_yet", 401, "invalid_token")),
        (Refusal.CLAIMS, ("claims", 401, "invalid_token")),
        (Refusal.REVOKED, ("revoked", 401, "invalid_token")),
        (Refusal.SCOPE, ("scope", 403, "insufficient_scope")),
        (Refusal.UNAVAILABLE, ("unavailable", 503, None)),
    ],
)
def test_what_a_client_is_told_of_each(refusal: Refusal, told: tuple[str, int, str | None]) -> None:
    """A stable word, the status, and the code of RFC 6750 3.1: clients tell refusals apart by them."""
    assert told == (refusal.reason, refusal.status, refusal.error)


@pytest.mark.requirement("P-03")
def test_a_header_names_scheme_and_token() -> None:
    """`credentials` reads both schemes, `bearer_token` the one of bearer tokens alone."""
    assert ("DPoP", "abc") == credentials(["dpop abc"])
    assert ("Bearer", "abc") == credentials(["Bearer  abc"])
    assert "abc" == bearer_token(["bearer abc"])
    with pytest.raises(TokenRefusedError, match="missing"):
        bearer_token(["DPoP abc"])


async def _app(scope: Any, receive: Any, send: Any) -> None:
    del receive
    body = scope["claims"].sub.encode() if "claims" in scope else b"open"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize(
    ("headers", "status", "challenge_start"),
    [
        ([], 401, "Bearer"),
        ([("Authorization", "Basic abc")], 401, "Bearer"),
        ([("Authorization", "Bearer ")], 401, "Bearer"),
        ([("Authorization", "Bearer é".encode())], 401, 'Bearer error="invalid_token"'),
        ([("Authorization", "Bearer x.y.z")], 401, 'Bearer error="invalid_token"'),
        (
            [("Authorization", "Bearer a"), ("Authorization", "Bearer b")],
            400,
            'Bearer error="invalid_request"',
        ),
    ],
)
async def test_the_middleware_answers_what_it_refuses(
    headers: list[tuple[str, Any]], status: int, challenge_start: str
) -> None:
    """A request without exactly one good token gets RFC 6750's answer and not the app."""
    transport = httpx.ASGITransport(BearerAuth(_app, verifier()))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        raw = [
            (name.encode(), value if isinstance(value, bytes) else value.encode()) for name, value in headers
        ]
        answer = await client.get("/", headers=raw)
    assert status == answer.status_code
    assert answer.headers["www-authenticate"].startswith(challenge_start)


async def test_the_middleware_lets_good_tokens_through() -> None:
    """The app sees the claims; open paths need no token."""
    transport = httpx.ASGITransport(BearerAuth(_app, verifier(), lambda path: path == "/open"))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        good = await client.get("/", headers={"Authorization": f"bearer {token()}"})
        assert "alice" == good.text
        assert "open" == (await client.get("/open")).text


async def test_a_refused_websocket_is_closed() -> None:
    """A WebSocket without a token is closed before it opens."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    await BearerAuth(_app, verifier())({"type": "websocket", "path": "/", "headers": []}, receive, send)
    assert [("websocket.close", 1008)] == [(message["type"], message["code"]) for message in sent]


async def test_a_token_that_is_good_for_something_else_is_told_so() -> None:
    """403 `insufficient_scope`, with the scope that is needed (RFC 6750 3.1)."""
    transport = httpx.ASGITransport(BearerAuth(_app, verifier(), scope=["orders", "admin"]))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        answer = await client.get("/", headers={"Authorization": f"Bearer {token()}"})
    assert 403 == answer.status_code
    assert (
        'Bearer error="insufficient_scope", error_description="scope", scope="admin orders"'
        == answer.headers["www-authenticate"]
    )


async def test_starlette_takes_it_as_any_middleware() -> None:
    """`Middleware(BearerAuth, verifier=…)`; a handler finds the claims in its request's scope."""

    async def who(request: Request) -> Response:
        return Response(request.scope["claims"].sub)

    app = Starlette(routes=[Route("/", who)], middleware=[Middleware(BearerAuth, verifier=verifier())])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
        assert "alice" == (await client.get("/", headers={"Authorization": f"Bearer {token()}"})).text
        assert 401 == (await client.get("/")).status_code
