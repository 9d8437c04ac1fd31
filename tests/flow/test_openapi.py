"""Each described operation, asked of a running proxy: its answers are as `bff/web/openapi.yaml` says."""

import pytest

from tests.support.conformance import operation_of
from tests.support.openapi import operations
from tests.support.processes.world import World

NAVIGATION = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}


@pytest.mark.parametrize("signed_in", [True, False], ids=["signed in", "nobody"])
async def test_every_operation_answers_as_described(world: World, signed_in: bool) -> None:
    """The browser holds each answer to the description; here it asks for everything once."""
    browser = await (world.signed_in() if signed_in else world.browser())
    other = await world.signed_in()
    assert (200 if signed_in else 401) == (await browser.user()).status_code
    assert 200 == (await browser.call("/bff/user?anonymous=ok")).status_code
    await browser.call("/bff/refresh", "POST")
    listed = (await other.call("/bff/sessions")).json()["sessions"]
    first = next((each["id"] for each in listed if not each["current"]), "none")
    await browser.call("/bff/sessions")
    await browser.call("/bff/sessions/nonsense", "DELETE")
    await browser.call("/bff/events", "HEAD")
    for name in ("client.js", "client.d.ts", "forward-auth"):
        await browser.call(f"/bff/{name}")
    await browser.call("/bff/backchannel-logout", "POST", data={"logout_token": "nonsense"})
    await browser.call("/bff/user", headers={"X-CSRF": "2"})
    await browser.call("/bff/login", headers={"Sec-Fetch-Mode": "cors"})
    for path in (
        "callback/finish",
        "callback?state=unknown",
        "login?return_to=//elsewhere",
        "logout?sid=wrong",
    ):
        await browser.client.get(f"/bff/{path}", headers=NAVIGATION)
    await browser.call("/bff/logout", "POST")
    await browser.client.get("/bff/logout/continue", headers=NAVIGATION)
    await other.call(f"/bff/sessions/{first}", "DELETE")
    await browser.call("/bff/sessions", "DELETE")
    asked = {
        operation_of(answer.request.method, answer.request.url.path)
        for answer in browser.answers
        if str(answer.request.url).startswith(world.url)
    }
    assert set() == set(operations()) - asked
