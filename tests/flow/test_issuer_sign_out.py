"""What ends at the issuer ends at the proxy: our own issuer's back channel against our own endpoint."""

import pytest

from tests.support.processes.redis import RedisServer
from tests.support.processes.world import running_world
from tests.support.providers.issuer import read_form
from tests.support.wait import until


@pytest.mark.requirement("L-05", "L-06")
async def test_signing_out_at_the_issuer_ends_the_session_here(redis_server: RedisServer) -> None:
    """Somebody signs out on the issuer's page: the session of that browser is over, another one's is not."""
    async with running_world(redis_server, told_of_logouts=True) as world:
        browser, other = await world.signed_in(), await world.signed_in()
        page = await browser.client.get(f"{world.issuer.url}/end-session")
        action, csrf = read_form(page)
        done = await browser.client.post(action, data={"csrf": csrf})
        assert "Signed out" in done.text
        assert browser.handle is not None
        key = browser.session_key
        with redis_server.client() as client:
            await until(lambda: not client.exists(key))
        assert (401, "session_ended") == (
            (answer := await browser.user()).status_code,
            answer.json()["code"],
        )
        assert 200 == (await other.user()).status_code
