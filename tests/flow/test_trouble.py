"""A provider that answers, but not with tokens; a backend that is never content."""

import pytest

from tests.support.network.backend import Received, Reply
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import World, running_world
from tests.support.wait import until

NEARLY, EXPIRED = 290, 400  # seconds: the tokens of these tests live 300


@pytest.mark.requirement("T-08", "T-07", "B-35")
@pytest.mark.parametrize(
    "answer", [(500, b"{}"), (429, b'{"error":"slow_down"}'), (503, b"down"), (200, b"no json")]
)
async def test_the_old_token_serves_through_the_providers_trouble(
    world: World, answer: tuple[int, bytes]
) -> None:
    """200 with the old token until its end, then 503, the cookie untouched; afterwards all is well."""
    browser = await world.signed_in()
    world.issuer.seen.answer = answer
    world.clock.ahead = NEARLY
    for _ in range(3):
        assert 200 == (await browser.call("/api/orders")).status_code
    await until(lambda: len(world.app.tasks) == 0)
    assert world.refreshes >= 1
    assert 1 == len({request.values(b"authorization")[0] for request in world.backend.requests})
    world.clock.ahead = EXPIRED
    refused = await browser.call("/api/orders")
    assert (503, "provider_unavailable") == (refused.status_code, refused.json()["code"])
    assert int(refused.headers["retry-after"]) >= 1
    assert "set-cookie" not in refused.headers
    world.issuer.seen.answer = None
    world.clock.ahead += 60
    assert 200 == (await browser.call("/api/orders")).status_code
    assert 1 == (await browser.user()).json()["session"]["rotations"]


@pytest.mark.requirement("T-11")
async def test_a_backend_that_always_says_401_rotates_once_in_a_while(redis_server: RedisServer) -> None:
    """Each call gets the backend's 401, after two tries at most; tokens are rotated once in 30 seconds."""
    async with running_world(redis_server, refresh={"min_age_for_401": 30}) as world:

        async def never(_: Received) -> Reply:
            return Reply(401, [(b"www-authenticate", b'Bearer error="invalid_token"')], b"no")

        world.reply = never
        browser = await world.signed_in()
        world.clock.stop()
        for age, rotations in ((29, 0), (31, 1), (60, 1), (62, 2)):
            world.clock.ahead = age
            for _ in range(5):
                answer = await browser.call("/api/orders", "POST", content=b"x" * 1000)
                assert (401, "1", b"no") == (
                    answer.status_code,
                    answer.headers["bff-upstream"],
                    answer.content,
                )
            assert rotations == world.refreshes
        assert 4 * 5 + 2 == len(world.backend.requests)
