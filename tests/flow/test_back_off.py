"""Who waits after the provider has refused: the one session, or everybody."""

import pytest

from tests.support.issuer import ALICE, BOB
from tests.support.world import Browser, World

EXPIRED = 400  # seconds: the tokens of these tests live 300


async def two(world: World) -> tuple[Browser, Browser]:
    """Alice's browser and Bob's, with tokens that have run out."""
    alice, bob = await world.browser(), await world.browser()
    await alice.sign_in(ALICE)
    await bob.sign_in(BOB)
    world.clock.stop()
    world.clock.ahead = EXPIRED
    return alice, bob


@pytest.mark.requirement("T-08", "T-07")
@pytest.mark.parametrize("code", ["access_denied", "interaction_required", "mfa_required"])
async def test_a_refusal_of_one_user_keeps_nobody_else_waiting(world: World, code: str) -> None:
    """Alice is asked for a second factor: her calls wait, her session lives, and Bob's rotates at once."""
    alice, bob = await two(world)
    world.issuer.seen.answer = (400, b'{"error":"%s"}' % code.encode())
    for _ in range(3):
        assert "provider_unavailable" == (await alice.call("/api/orders")).json()["code"]
    assert 1 == world.refreshes
    world.issuer.seen.answer = None
    assert 200 == (await bob.call("/api/orders")).status_code
    assert 503 == (await alice.call("/api/orders")).status_code
    assert 2 == world.refreshes
    world.clock.ahead += 1
    assert 200 == (await alice.call("/api/orders")).status_code


@pytest.mark.requirement("T-08")
@pytest.mark.parametrize(
    "answer", [(400, b'{"error":"unauthorized_client"}'), (503, b"{}"), (403, b"<html>")]
)
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
