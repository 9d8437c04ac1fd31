"""Who waits after the provider has refused: the one session, or everybody."""

import pytest

from tests.support.processes.world import Browser, World
from tests.support.providers.issuer import ALICE, BOB

EXPIRED = 400  # seconds: the tokens of these tests live 300


async def two(world: World) -> tuple[Browser, Browser]:
    """Alice's browser and Bob's, with tokens that have run out."""
    alice, bob = await world.browser(), await world.browser()
    await alice.sign_in(ALICE)
    await bob.sign_in(BOB)
    world.clock.stop()
    world.clock.ahead = EXPIRED
    return alice, bob


FOREIGN: dict[str, tuple[int, bytes]] = {
    "words of its own": (400, b'{"code":400,"error_code":"refresh_token_not_found","msg":"Not Found"}'),
    "a bare text": (400, b"invalid_grant"),
    "problem+json": (400, b'{"type":"about:blank","title":"Bad Request","status":400}'),
    "invalid_token": (401, b'{"error":"invalid_token"}'),
    "401 without a word": (401, b""),
    "403": (403, b"<html>"),
    "404": (404, b"{}"),
    "410": (410, b"{}"),
    "422": (422, b'{"message":"The refresh token is invalid."}'),
    "access_denied": (400, b'{"error":"access_denied"}'),
    "unauthorized_client": (400, b'{"error":"unauthorized_client"}'),
    "an error that is no text": (400, b'{"error":{"code":"invalid_grant"}}'),
    "200 with an error": (200, b'{"error":"invalid_token","error_description":"gone"}'),
    "200 with an error that is no text": (200, b'{"error":{"code":17}}'),
}
"""What providers say of a dead refresh token, beside `invalid_grant`."""


@pytest.mark.requirement("T-16", "T-08", "T-07")
@pytest.mark.parametrize("kind", FOREIGN)
async def test_a_refusal_of_one_user_keeps_nobody_else_waiting(world: World, kind: str) -> None:
    """Alice's token is refused: her calls wait, Bob's rotates; as that repeats, her session ends by name."""
    alice, bob = await two(world)
    world.issuer.seen.answer = FOREIGN[kind]
    for _ in range(3):
        assert "provider_unavailable" == (await alice.call("/api/orders")).json()["code"]
    assert 1 == world.refreshes
    world.issuer.seen.answer = None
    assert 200 == (await bob.call("/api/orders")).status_code
    world.issuer.seen.answer = FOREIGN[kind]
    world.clock.ahead += 6
    assert 503 == (await alice.call("/api/orders")).status_code
    world.clock.ahead += 6
    refused = await alice.call("/api/orders")
    assert (401, "session_ended") == (refused.status_code, refused.json()["code"])
    assert "refresh_refused" == refused.json()["reason"]
    assert "refresh_refused" == (await alice.call("/api/orders")).json()["reason"]
    assert 200 == (await bob.call("/api/orders")).status_code


@pytest.mark.requirement("T-16")
async def test_a_refusal_that_does_not_repeat_ends_nothing(world: World) -> None:
    """A moment later the provider takes the same token."""
    alice, _ = await two(world)
    world.issuer.seen.answer = FOREIGN["404"]
    assert 503 == (await alice.call("/api/orders")).status_code
    world.issuer.seen.answer = None
    world.clock.ahead += 1
    assert 200 == (await alice.call("/api/orders")).status_code


@pytest.mark.requirement("T-16", "T-08")
@pytest.mark.parametrize("body", [b"", b'{"error":"server_error"}'])
@pytest.mark.parametrize("status", [500, 502, 504])
async def test_one_token_that_breaks_the_provider_keeps_nobody_else_waiting(
    world: World, status: int, body: bytes
) -> None:
    """A 5xx that only Alice meets, however often."""
    alice, bob = await two(world)
    world.issuer.seen.answer = (status, body)
    for _ in range(10):
        assert 503 == (await alice.call("/api/orders")).status_code
        world.clock.ahead += 5
    assert world.refreshes >= 10
    world.issuer.seen.answer = None
    assert 200 == (await bob.call("/api/orders")).status_code
    assert 200 == (await alice.call("/api/orders")).status_code


USER_NEEDED = (
    "interaction_required", "login_required", "consent_required", "mfa_required", "authentication_required",
    "account_selection_required", "insufficient_user_authentication", "unmet_authentication_requirements",
)  # fmt: skip


@pytest.mark.requirement("T-20", "T-16")
@pytest.mark.parametrize(
    ("code", "status"),
    [*((code, 400) for code in USER_NEEDED), *(("login_required", status) for status in (200, 401, 403))],
)
async def test_a_session_that_needs_its_user_says_so(world: World, code: str, status: int) -> None:
    """401 with the way to sign in, at once and again; the record stays, and a new sign-in takes its place."""
    alice, bob = await two(world)
    world.issuer.seen.answer = (status, b'{"error":"%s"}' % code.encode())
    for _ in range(3):
        answer = await alice.call("/api/orders")
        assert (401, "session_expired") == (answer.status_code, answer.json()["code"])
        assert "sign_in_required" == answer.json()["reason"]
        assert answer.json()["login_url"].startswith("/bff/login")
    assert 1 == world.refreshes
    world.issuer.seen.answer = None
    assert 200 == (await bob.call("/api/orders")).status_code
    world.clock.ahead = 0  # else the new ID token is over, too
    await alice.sign_in(ALICE)
    assert 200 == (await alice.call("/api/orders")).status_code


@pytest.mark.requirement("T-20")
async def test_a_session_that_needs_its_user_goes_on_until_its_token_ends(world: World) -> None:
    """A page that asks for a rotation is told; its calls use the token at hand, and then are told too."""
    alice = await world.browser()
    await alice.sign_in(ALICE)
    world.clock.stop()
    world.issuer.seen.answer = (400, b'{"error":"login_required"}')
    for ahead in (270, 295, 298):  # its `exp` is in whole seconds, up to one earlier
        world.clock.ahead = ahead
        assert 200 == (await alice.call("/api/orders")).status_code
    world.clock.ahead = 301
    answer = await alice.call("/api/orders")
    assert (401, "sign_in_required") == (answer.status_code, answer.json()["reason"])
    assert "sign_in_required" == (await alice.call("/bff/refresh", method="POST")).json()["reason"]
    world.issuer.seen.answer = None
    world.clock.ahead += 60
    assert 200 == (await alice.call("/api/orders")).status_code


@pytest.mark.requirement("T-08")
@pytest.mark.parametrize("answer", [(503, b"{}"), (429, b"{}"), (400, b'{"error":"invalid_client"}')])
async def test_trouble_of_the_providers_own_makes_everybody_wait(
    world: World, answer: tuple[int, bytes]
) -> None:
    """What every call would meet is not tried by every session."""
    alice, bob = await two(world)
    world.issuer.seen.answer = answer
    assert 503 == (await alice.call("/api/orders")).status_code
    assert 503 == (await bob.call("/api/orders")).status_code
    assert 1 == world.refreshes
    world.issuer.seen.answer = None
    world.clock.ahead += 1
    assert 200 == (await bob.call("/api/orders")).status_code
    assert 200 == (await alice.call("/api/orders")).status_code
