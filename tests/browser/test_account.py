"""The page of somebody who is signed in: orders, rotation, and what the browser gets to hold."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.demo import ACCESS_TOKEN_LIFETIME, Demo
from tests.browser.visit import rotations, sign_in, signed_out

JWT = re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}")
SIGN_OUT_STEP = "/bff/logout/continue"
DEADLINE = 15_000  # milliseconds
ALL_FIFTY = "50 \N{MULTIPLICATION SIGN} 200"


def test_an_order_is_made_and_listed_as_text(page: Page, demo: Demo) -> None:
    """What somebody typed is shown as it was typed, and never becomes markup."""
    sign_in(page, demo.url)
    item = "<img src=x onerror=document.title='owned'>"
    before = page.locator("#orders tr").count()
    page.get_by_label("Item").fill(item)
    page.get_by_label("Quantity").fill("3")
    page.get_by_role("button", name="Order it").click()
    expect(page.locator("#orders tr")).to_have_count(before + 1)
    expect(page.locator("#orders tr").first).to_contain_text(item)
    expect(page.locator("#orders tr").first).to_contain_text("3")
    assert page.title() == "bff demo"


@pytest.mark.requirement("T-11")
def test_a_revoked_access_token_is_healed(page: Page, demo: Demo) -> None:
    """The API's 401 never reaches the page: one rotation, one repeated call, and 200."""
    sign_in(page, demo.url)
    page.get_by_role("button", name="Revoke my access token at the API").click()
    result = page.locator("#revoke-result")
    expect(result).to_contain_text("Healed: the call was answered 200", timeout=DEADLINE)
    expect(result).to_contain_text("rotations 0 → 1")
    expect(page.locator("#rotations")).to_have_text("1")
    assert rotations(page) == 1


@pytest.mark.requirement("T-01")
def test_fifty_calls_with_a_dead_token_take_one_rotation(page: Page, demo: Demo) -> None:
    """Fifty calls find the token revoked; it is rotated once, and all fifty are answered 200."""
    sign_in(page, demo.url)
    page.get_by_label("Revoke the token first").check()
    page.get_by_role("button", name="Fifty calls at once").click()
    expect(page.locator("#fifty-result")).to_contain_text("with 1 rotation.", timeout=DEADLINE)
    expect(page.locator("#fifty-result")).to_contain_text(ALL_FIFTY)
    expect(page.locator("#fifty-cells .good")).to_have_count(50)
    assert rotations(page) == 1


def test_an_access_token_near_its_end_is_rotated_before_the_next_call(page: Page, demo: Demo) -> None:
    """The ring runs down; looking alone rotates nothing, the next call does, and the page shows it."""
    sign_in(page, demo.url)
    nearly_over = re.compile(
        r"^([123] s|over)$"
    )  # rotated in the last quarter of its life, but not by looking
    expect(page.locator("#token-left")).to_have_text(nearly_over, timeout=ACCESS_TOKEN_LIFETIME * 1000)
    assert rotations(page) == 0
    page.get_by_role("button", name="Load again").click()
    expect(page.locator("#rotations")).to_have_text("1", timeout=DEADLINE)
    expect(page.locator("#log")).to_contain_text("tokens rotated: 0 → 1")


@pytest.mark.requirement("B-03", "B-08")
def test_the_browser_holds_nothing_that_a_script_can_read(page: Page, demo: Demo) -> None:
    """No cookie, no storage, no database, no cache, no worker."""
    sign_in(page, demo.url)
    places = page.locator("#holds > div")
    expect(places).to_have_count(6)
    assert ["nothing"] * 6 == page.locator("#holds dd").all_inner_texts()
    assert page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]") == ["", 0, 0]


@pytest.mark.requirement("B-08", "B-25", "L-01", "O-07")
def test_nothing_that_crosses_the_wire_holds_a_token(
    recorded: tuple[BrowserContext, Callable[[], list[dict[str, str]]]], demo: Demo
) -> None:
    """From sign-in to sign-out no request and no answer holds a JWT but the hint of the last redirect."""
    context, ended = recorded
    page = context.new_page()
    sign_in(page, demo.url)
    page.get_by_role("button", name="Rotate now").click()
    expect(page.locator("#rotations")).to_have_text("1")
    page.get_by_role("button", name="Fifty calls at once").click()
    expect(page.locator("#fifty-result")).to_contain_text(ALL_FIFTY, timeout=DEADLINE)
    page.get_by_role("button", name="Sign out").click()
    signed_out(page)
    record = ended()
    assert len(record) > 60
    ours = [each for each in record if each["url"].startswith(demo.url)]
    leaks = [each["url"] for each in ours if JWT.search(each["sent"]) or JWT.search(each["got"])]
    assert [demo.url + SIGN_OUT_STEP] == leaks
    own_answers = [each for each in ours if "/bff/" in each["url"] and "/bff/client" not in each["url"]]
    assert [] == [each["url"] for each in own_answers if "no-store" not in each["got"]]
