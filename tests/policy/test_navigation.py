"""What counts as a person's navigation."""

import pytest

from bff.policy.fields import Header
from bff.policy.navigation import navigates, not_navigated

NAVIGATE = (b"sec-fetch-mode", b"navigate")
HTML = (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")


@pytest.mark.requirement("B-37")
@pytest.mark.parametrize(
    ("why", "headers"),
    [
        (None, []),
        (None, [NAVIGATE, HTML]),
        (None, [(b"purpose", b"analysis")]),
        ("prefetch", [(b"sec-purpose", b"prefetch")]),
        ("prefetch", [NAVIGATE, (b"sec-purpose", b"prefetch;prerender")]),
        ("prefetch", [NAVIGATE, (b"sec-purpose", b"Prefetch;anonymous-client-ip")]),
        ("prefetch", [(b"purpose", b"prefetch")]),
        ("prefetch", [(b"x-purpose", b"preview")]),
        ("prefetch", [(b"x-moz", b"prefetch")]),
        ("prefetch", [(b"sec-purpose", b"x"), (b"sec-purpose", b"prefetch")]),
        ("fetch_mode", [(b"sec-fetch-mode", b"no-cors")]),
        ("fetch_mode", [(b"sec-fetch-mode", b"cors")]),
        ("fetch_mode", [(b"sec-fetch-mode", b"same-origin")]),
        ("fetch_mode", [(b"sec-fetch-mode", b"websocket")]),
        ("fetch_mode", [(b"sec-fetch-mode", b"")]),
        ("fetch_mode", [NAVIGATE, NAVIGATE]),
    ],
)
def test_what_acts_asks_for_a_navigation(why: str | None, headers: list[Header]) -> None:
    """Prefetches in every spelling and fetches of any mode are told apart; HEAD never is a navigation."""
    assert why == not_navigated("GET", headers)
    assert "head" == not_navigated("HEAD", headers)


@pytest.mark.requirement("B-38")
@pytest.mark.parametrize(
    ("page", "headers"),
    [
        (True, [NAVIGATE]),
        (True, [HTML]),
        (True, [(b"host", b"app.example.com"), HTML, (b"dnt", b"1")]),
        (True, [(b"accept", b" Text/HTML")]),
        (False, []),
        (False, [(b"accept", b"*/*")]),
        (False, [(b"accept", b"application/json, text/plain, */*")]),
        (False, [(b"accept", b"application/json, text/html")]),
        (False, [(b"sec-fetch-mode", b"cors"), HTML]),
        (False, [(b"sec-fetch-mode", b"no-cors"), HTML]),
        (False, [NAVIGATE, NAVIGATE, HTML]),
    ],
)
def test_who_looks_at_the_answer(page: bool, headers: list[Header]) -> None:
    """The mode decides where it is sent, else what is asked for first."""
    assert page == navigates(headers)
