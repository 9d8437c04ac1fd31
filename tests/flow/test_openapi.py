"""Each described operation, asked of a running proxy: its answers are as `bff/web/openapi.yaml` says."""

import pytest

from tests.support.conformance import operation_of
from tests.support.openapi import operations
from tests.support.processes.world import World

EVENTS = "/bff/events"
"""The path of a stream, which would not end: its head is enough."""
LAST = {"/bff/logout", "/bff/logout/continue"}
NAVIGATION = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}


@pytest.mark.parametrize("signed_in", [True, False], ids=["signed in", "nobody"])
async def test_every_operation_answers_as_described(world: World, signed_in: bool) -> None:
    """The browser holds each answer to the description; here it asks for everything once."""
    browser = await (world.signed_in() if signed_in else world.browser())
    await world.signed_in()  # a session for the browser to see, and to end
    assert (200 if signed_in else 401) == (await browser.user()).status_code
    assert 200 == (await browser.call("/bff/user?anonymous=ok")).status_code
    for path, method in operations():
        if path not in LAST:
            await browser.call(path.replace("{id}", "nonsense"), "HEAD" if path == EVENTS else method.upper())
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
    asked = {
        operation_of(answer.request.method, answer.request.url.path)
        for answer in browser.answers
        if str(answer.request.url).startswith(world.url)
    }
    assert set() == set(operations()) - asked
