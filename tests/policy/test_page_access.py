"""The steps for a request to a page that is for signed-in users alone."""

import pytest

from bff.policy.fields import Header
from bff.policy.immutable_assets import paths_pattern
from bff.policy.page_access import WithoutSession, page_address, without_session

NAVIGATE = (b"sec-fetch-mode", b"navigate")
ELSEWHERE = (b"sec-fetch-site", b"cross-site")
HTML = (b"accept", b"text/html,*/*;q=0.8")


@pytest.mark.requirement("B-28")
@pytest.mark.parametrize(
    ("step", "method", "headers", "query"),
    [
        ("sign_in", "GET", [NAVIGATE], b""),
        ("sign_in", "GET", [NAVIGATE, (b"sec-fetch-site", b"none")], b"x=1"),
        ("sign_in", "GET", [NAVIGATE, (b"sec-fetch-site", b"same-origin")], b"not_bff_error=1"),
        ("sign_in", "GET", [HTML], b""),
        ("come_back", "GET", [NAVIGATE, ELSEWHERE], b""),
        ("failed", "GET", [NAVIGATE], b"bff_error=access_denied"),
        ("failed", "GET", [NAVIGATE, ELSEWHERE], b"x=1&bff_error"),
        ("prefetch", "GET", [NAVIGATE, (b"sec-purpose", b"prefetch;prerender")], b""),
        ("refuse", "GET", [(b"sec-fetch-mode", b"cors"), HTML], b""),
        ("refuse", "GET", [(b"accept", b"*/*")], b""),
        ("refuse", "HEAD", [NAVIGATE], b""),
        ("refuse", "POST", [NAVIGATE, HTML], b""),
    ],
)
def test_only_a_person_is_sent_to_sign_in(
    step: WithoutSession, method: str, headers: list[Header], query: bytes
) -> None:
    """Scripts are refused; a failed sign-in is not begun again; the Strict cookie is waited for."""
    assert step == without_session(method, headers, query)


@pytest.mark.requirement("O-04")
@pytest.mark.parametrize(
    ("address", "path", "query"),
    [
        ("/orders/7", b"/orders/7", b""),
        ("/orders?x=1&y=%20", b"/orders", b"x=1&y=%20"),
        ("/orders?x=1", b"/orders", b"bff_error=login_failed&x=1"),
        ("/orders", b"/orders", b"bff_error=login_failed"),
        ("/home", b"//evil.example", b""),
        ("/home", b"/api/orders", b""),
        ("/home", b"/" + b"x" * 2000, b""),
        ("/home", b"/\xff", b""),
    ],
)
def test_a_sign_in_leads_back_to_the_page(address: str, path: bytes, query: bytes) -> None:
    """The same address, but for the error of a former try; the start page where it is no safe one."""
    assert address == page_address(path, query, "/home", lambda path: path.startswith(b"/api"))


def test_public_files() -> None:
    """Whole paths, folders and patterns; without any no file is public."""
    public = paths_pattern(["/goodbye.html", "/fonts/", "/icon-*.png"])
    for path in ("/goodbye.html", "/fonts/a.woff2", "/icon-7.png"):
        assert public.fullmatch(path)
    for path in ("/", "/goodbye.html.br", "/x/goodbye.html", "/fonts"):
        assert not public.fullmatch(path)
    assert not paths_pattern([]).fullmatch("/")
