"""The tabs of one browser: one stream of events for all, and all are told (S-02)."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.demo import Demo
from tests.browser.visit import BOB, fill_in, session_id, sign_in, signed_in

pytestmark = pytest.mark.requirement("S-02")

_LISTEN = """async () => {
  window.told = [];
  window.client = await import("/bff/client.js");
  const told = (kind) => (detail) => window.told.push([kind, detail, Date.now()]);
  window.stops = [
    client.onSessionEnded(told("ended")), client.onSessionEnding(told("ending")),
    client.onSessionExtended(told("extended")), client.onRefreshed(told("refreshed")),
  ];
  return (await client.user({ slide: false }))?.sub ?? null;
}"""
_PLACES = """async () => {
  const { held, pending } = await navigator.locks.query();
  return [held.length, pending.length];
}"""
_NO_LOCKS = "Object.defineProperty(Navigator.prototype, 'locks', { get: () => undefined })"
_PATIENCE = 60_000  # milliseconds


@pytest.fixture(name="profile")
def _profile(browser: Browser, demo: Demo) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=demo.url)
    context.set_default_timeout(_PATIENCE)
    yield context
    context.close()


def account(profile: BrowserContext, demo: Demo) -> tuple[Page, str]:
    """Signs alice in, in a tab of its own that then goes elsewhere; its session's key in Redis."""
    page = profile.new_page()
    sign_in(page, demo.url)
    (key,) = demo.sessions(session_id(page))
    page.goto("about:blank")
    return page, key


def listening(profile: BrowserContext, demo: Demo) -> Page:
    """A tab that listens; its document has nothing else in it."""
    page = profile.new_page()
    page.goto(f"{demo.url}/bff/client.js")
    assert page.evaluate(_LISTEN) is not None
    return page


def told(page: Page, count: int = 1) -> list[list[Any]]:
    """What the page was told, once that is so much: kind and detail."""
    page.wait_for_function("(count) => told.length >= count", arg=count)
    said: list[list[Any]] = page.evaluate("() => told.map(([kind, detail]) => [kind, detail])")
    return said


def tabs_of(profile: BrowserContext, demo: Demo, count: int) -> list[Page]:
    """Tabs that listen, one of which has the stream open."""
    tabs = [listening(profile, demo) for _ in range(count)]
    one_leads(tabs, demo)
    return tabs


def one_leads(tabs: list[Page], demo: Demo) -> None:
    tabs[0].wait_for_function(
        f"(wanted) => ({_PLACES})().then((places) => places.join() === wanted)", arg=f"1,{len(tabs) - 1}"
    )
    for _ in range(600):
        if demo.event_streams() == 1:
            return
        tabs[0].wait_for_timeout(100)
    raise AssertionError(f"{demo.event_streams()} streams")


UNKNOWN = ["ended", {"code": "session_ended", "reason": "unknown"}]


@pytest.mark.requirement("B-22", "L-06")
def test_ten_tabs_are_told_of_a_deletion(profile: BrowserContext, demo: Demo) -> None:
    """They share one stream; after `redis-cli DEL` each is told, once, and none asks any more."""
    _, key = account(profile, demo)
    tabs = tabs_of(profile, demo, 10)
    assert 1 == demo.delete(key)
    assert [[UNKNOWN]] * 10 == [told(tab) for tab in tabs]
    expect(tabs[0].locator("body")).to_be_attached()
    assert [0, 0] == tabs[0].evaluate(_PLACES)
    assert [[UNKNOWN]] * 10 == [told(tab) for tab in tabs]


def test_another_tab_reads_on_where_the_first_is_closed(profile: BrowserContext, demo: Demo) -> None:
    """Whichever tab had the stream: the next one takes it, and the others are told by that."""
    _, key = account(profile, demo)
    tabs = tabs_of(profile, demo, 3)
    for closed in range(2):
        tabs[0].close()
        tabs = tabs[1:]
        one_leads(tabs, demo)
        assert 2 - closed == len(tabs)
    assert 1 == demo.delete(key)
    assert [UNKNOWN] == told(tabs[0])


@pytest.mark.requirement("S-11")
def test_a_worker_that_drains_costs_no_word(profile: BrowserContext, demo: Demo) -> None:
    """Its stream ends; the tab that reads opens another, at another worker, and all are told of the end."""
    _, key = account(profile, demo)
    reading, other = tabs_of(profile, demo, 2)
    with reading.expect_request("**/bff/events", timeout=_PATIENCE):
        demo.roll()
    one_leads([reading, other], demo)
    assert [[], []] == [tab.evaluate("() => told") for tab in (reading, other)]
    assert 1 == demo.delete(key)
    assert [[UNKNOWN]] * 2 == [told(tab) for tab in (reading, other)]


def test_a_tab_that_listens_no_more_gives_its_place_up(profile: BrowserContext, demo: Demo) -> None:
    """When the last listener of a page stops, another tab reads the stream."""
    _, key = account(profile, demo)
    first, second = tabs_of(profile, demo, 2)
    first.evaluate("() => stops.forEach((stop) => stop())")
    one_leads([second], demo)
    assert 1 == demo.delete(key)
    assert [UNKNOWN] == told(second)
    assert [] == first.evaluate("() => told")


@pytest.mark.requirement("L-06")
def test_a_sign_out(profile: BrowserContext, demo: Demo) -> None:
    """The other tabs are told why, once, though the cookie is gone; the one that signs out is not."""
    account(profile, demo)
    leaver, *others = tabs_of(profile, demo, 4)
    with leaver.expect_navigation():
        leaver.evaluate("() => { client.logout(); }")
    assert [[["ended", {"code": "session_ended", "reason": "logout"}]]] * 3 == [told(tab) for tab in others]


def test_rotations(profile: BrowserContext, demo: Demo) -> None:
    """Each tab is told of a rotation, in whichever it was asked for."""
    account(profile, demo)
    tabs = tabs_of(profile, demo, 3)
    before = tabs[0].evaluate("async () => (await client.user({ slide: false })).session.rotations")
    after = tabs[1].evaluate("async () => (await client.refresh()).session.rotations")
    assert before < after
    for tab in tabs:
        kinds = [kind for kind, _ in told(tab)]
        assert {"refreshed"} == set(kinds)
        assert {"rotations": after} in [detail for _, detail in told(tab)]


@pytest.mark.requirement("B-19")
def test_a_new_sign_in(profile: BrowserContext, demo: Demo) -> None:
    """Of the same person it is no end, and the tabs listen on; of another person it is."""
    page, former = account(profile, demo)
    tabs = tabs_of(profile, demo, 2)
    page.goto(f"{demo.url}/bff/login?return_to=/&prompt=login")
    fill_in(page)
    signed_in(page)
    assert [] == demo.sessions(former.rpartition(":")[2])
    (key,) = demo.sessions(session_id(page))
    page.goto("about:blank")
    one_leads(tabs, demo)
    assert [[]] * 2 == [tab.evaluate("() => told") for tab in tabs]
    page.goto(f"{demo.url}/bff/login?return_to=/&prompt=login")
    fill_in(page, BOB)
    signed_in(page)
    assert [] == demo.sessions(key.rpartition(":")[2])
    for tab in tabs:
        assert [["ended", {"code": "session_ended", "reason": "signed_in_again"}]] == told(tab)


def test_where_there_are_no_locks_the_proxy_is_asked(profile: BrowserContext, demo: Demo) -> None:
    """An old browser opens no stream, so that its tabs do not take all connections; it asks."""
    _, key = account(profile, demo)
    profile.add_init_script(_NO_LOCKS)
    tab = listening(profile, demo)
    tab.evaluate("() => client.onSessionEnded(() => {}, { interval: 100 })")
    asked: list[str] = []
    tab.on("request", lambda sent: asked.append(sent.url))
    assert 1 == demo.delete(key)
    assert [UNKNOWN] == told(tab)
    assert not [url for url in asked if "/bff/events" in url]


def test_an_end_that_comes_near(profile: BrowserContext, demo: Demo) -> None:
    """All tabs are told of it once, a tab that opens meanwhile too; and when it has moved."""
    account(profile, demo)
    said = ['event: session-ending\ndata: {"seconds": 60, "reason": "idle"}\n\n']
    profile.route(
        "**/bff/events",
        lambda route: route.fulfill(
            content_type="text/event-stream", headers={}, body="retry: 1\n\n" + "".join(said)
        ),
    )
    tabs = [listening(profile, demo) for _ in range(2)]
    told(tabs[0])
    tabs.append(listening(profile, demo))
    for tab in tabs:
        ((kind, detail),) = told(tab)  # of a second or more ago, where another tab has told it
        assert ("ending", "idle", True) == (kind, detail["reason"], 0 < detail["seconds"] <= 60)
    said[:] = ['event: session-extended\ndata: {"seconds": 600}\n\n']
    for tab in tabs:
        assert ["extended", {"seconds": 600}] == told(tab, 2)[1]
    assert [2, 2, 2] == [tab.evaluate("() => told.length") for tab in tabs]


def test_the_demo_says_that_its_session_ends(profile: BrowserContext, demo: Demo) -> None:
    """And offers to stay, by a use of the session; any use in any tab takes the words away."""
    page = profile.new_page()
    said = ['event: session-ending\ndata: {"seconds": 60, "reason": "idle"}\n\n']
    profile.route(
        "**/bff/events",
        lambda route: route.fulfill(content_type="text/event-stream", body="retry: 1\n\n" + "".join(said)),
    )
    sign_in(page, demo.url)
    expect(page.get_by_role("alert")).to_contain_text("Your session ends in 1:00, unless it is used")
    with page.expect_request(f"{demo.url}/bff/user?anonymous=ok"):
        page.get_by_role("button", name="Stay signed in").click()
    expect(page.get_by_role("alert")).to_be_hidden()
    said[:] = ['event: session-extended\ndata: {"seconds": 600}\n\n']
    other = profile.new_page()
    other.goto(demo.url)
    signed_in(other)
    said[:] = ['event: session-ending\ndata: {"seconds": 61, "reason": "max_lifetime"}\n\n']
    for each in (page, other):
        expect(each.get_by_role("alert")).to_contain_text("however busy it is")
        expect(each.get_by_role("button", name="Stay signed in")).to_be_hidden()
