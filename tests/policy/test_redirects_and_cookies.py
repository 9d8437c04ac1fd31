"""Redirects and cookies of a backend, in terms of the public origin."""

from typing import Any

import pytest

from bff.policy.header_rules import HeaderRules
from bff.policy.public_origin import PublicOrigin
from bff.settings.model import RouteSettings


def rules(path: str = "/api", upstream: str = "http://127.0.0.1:8000", **route: Any) -> HeaderRules:
    settings = RouteSettings.model_validate({"path": path, "upstream": upstream, **route})
    return HeaderRules.compiled(settings, PublicOrigin.parse("https://app.example.com"), b"x-csrf")


def seen(judged: HeaderRules, value: bytes, name: bytes = b"location") -> bytes:
    return dict(judged.response(307, [(name, value)]))[name]


@pytest.mark.parametrize(
    ("upstream", "said", "public"),
    [
        ("http://127.0.0.1:8000", b"http://127.0.0.1:8000/items/", b"/api/items/"),
        ("http://127.0.0.1:8000", b"https://127.0.0.1:8000/items/", b"/api/items/"),  # by X-Forwarded-Proto
        ("http://127.0.0.1:8000", b"//127.0.0.1:8000/items/", b"/api/items/"),
        ("http://127.0.0.1:8000", b"HTTP://127.0.0.1:8000/items/?q=a#b", b"/api/items/?q=a#b"),
        ("http://127.0.0.1:8000", b"http://127.0.0.1:8000", b"/api/"),
        ("http://127.0.0.1:8000", b"http://127.0.0.1:8000?q=1", b"/api/?q=1"),
        ("http://127.0.0.1:8000", b"http://127.0.0.1:8000/api/items/", b"/api/items/"),  # heeds the prefix
        ("http://127.0.0.1:8000", b"http://127.0.0.1:8000/apis", b"/api/apis"),
        ("http://orders", b"http://orders/x", b"/api/x"),
        ("http://orders", b"http://Orders:80/x", b"/api/x"),
        ("http://orders", b"https://orders/x", b"/api/x"),
        ("https://orders", b"https://orders:443/x", b"/api/x"),
        ("http://[::1]:8000", b"http://[::1]:8000/x", b"/api/x"),
        ("http://unix:/run/app.sock", b"http://localhost/x", b"/api/x"),
        ("http://orders:8000/v1", b"http://orders:8000/v1/x/", b"/api/x/"),
        ("http://orders:8000/v1", b"http://orders:8000/v1", b"/api"),
        # Not the backend itself, or not under what the route leads to: as it is.
        ("http://orders:8000/v1", b"http://orders:8000/v2/x", b"http://orders:8000/v2/x"),
        ("http://orders:8000/v1", b"http://orders:8000/v10", b"http://orders:8000/v10"),
        ("http://orders:8000", b"http://orders:8001/x", b"http://orders:8001/x"),
        ("http://orders:8000", b"http://orders/x", b"http://orders/x"),
        ("http://orders:8000", b"http://orders:8000@evil.example/x", b"http://orders:8000@evil.example/x"),
        ("http://orders:8000", b"http://user@orders:8000/x", b"http://user@orders:8000/x"),
        ("http://orders:8000", b"ftp://orders:8000/x", b"ftp://orders:8000/x"),
        ("http://orders:8000", b"https://id.example.com/x", b"https://id.example.com/x"),
        ("http://orders:8000", b"/items/", b"/items/"),
        ("http://orders:8000", b"items/", b"items/"),
    ],
)
@pytest.mark.parametrize("name", [b"location", b"content-location"])
def test_a_redirect_to_the_upstream_itself(upstream: str, said: bytes, public: bytes, name: bytes) -> None:
    """It leads to the public path; any other stays as the backend wrote it."""
    assert public == seen(rules(upstream=upstream), said, name)


@pytest.mark.parametrize(
    ("path", "strip", "said", "public"),
    [
        ("/", True, b"http://127.0.0.1:8000/x", b"/x"),
        ("/", True, b"http://127.0.0.1:8000//evil.example", b"https://app.example.com//evil.example"),
        ("/", True, b"http://127.0.0.1:8000/\\evil.example", b"https://app.example.com/\\evil.example"),
        ("/", True, b"http://127.0.0.1:8000/\t/evil.example", b"https://app.example.com/\t/evil.example"),
        ("/api", False, b"http://127.0.0.1:8000/api/x", b"/api/x"),
        ("/api", False, b"http://127.0.0.1:8000/login", b"/login"),
        ("/api", False, b"http://127.0.0.1:8000//evil.example", b"https://app.example.com//evil.example"),
    ],
)
def test_it_stays_on_our_origin(path: str, strip: bool, said: bytes, public: bytes) -> None:
    """What would name another host once the backend's name is gone is written with ours."""
    assert public == seen(rules(path, strip_prefix=strip), said)


@pytest.mark.parametrize(
    ("said", "public"),
    [
        (b"0; url=http://127.0.0.1:8000/x", b"0; url=/api/x"),
        (b'5;URL="http://127.0.0.1:8000/x"', b'5;URL="/api/x"'),
        (b"0; url=https://id.example.com/", b"0; url=https://id.example.com/"),
        (b"30", b"30"),
    ],
)
def test_refresh(said: bytes, public: bytes) -> None:
    """`Refresh` redirects as well."""
    assert public == seen(rules(), said, b"refresh")


def test_a_setting_turns_it_off() -> None:
    """The backend's word stands then."""
    said = b"http://127.0.0.1:8000/items/"
    assert said == seen(rules(map_locations=False), said)
    assert said == seen(rules(map_locations=False), said, b"content-location")
    twice = b"http://127.0.0.1:8000/api/x"
    assert b"/api/api/x" == seen(rules(forwarded_prefix=False), twice)  # no prefix was told


@pytest.mark.parametrize(
    ("upstream", "said", "kept"),
    [
        ("http://orders:8000", b"a=b", b"a=b"),
        ("http://orders:8000", b"a=b; Path=/; HttpOnly", b"a=b; Path=/api; HttpOnly"),
        ("http://orders:8000", b"a=b; path=/cart", b"a=b; path=/api/cart"),
        ("http://orders:8000", b"a=b; Path=/api/cart", b"a=b; Path=/api/cart"),
        ("http://orders:8000/v1", b"a=b; Path=/v1/cart; Secure", b"a=b; Path=/api/cart; Secure"),
        ("http://orders:8000/v1", b"a=b; Path=/v1", b"a=b; Path=/api"),
        ("http://orders:8000/v1", b"a=b; Path=/", b"a=b; Path=/api"),
        ("http://orders:8000/v1", b"a=b; Path=/v2", b"a=b; Path=/v2"),
        ("http://orders.internal:8000", b"a=b; Domain=orders.internal; Secure", b"a=b; Secure"),
        ("http://orders.internal:8000", b"a=b;domain=.INTERNAL", b"a=b"),
        ("http://orders.internal:8000", b"a=b; Domain=example.com", b"a=b; Domain=example.com"),
        ("http://orders.internal:8000", b"a=b; Domain=evil.example", b"a=b; Domain=evil.example"),
        ("http://orders.example.com", b"a=b; Domain=example.com", b"a=b; Domain=example.com"),
        ("http://orders.example.com", b"a=b; Domain=orders.example.com", b"a=b"),
        ("http://orders.internal", b"a=b; Domain=ders.internal", b"a=b; Domain=ders.internal"),
        ("http://orders:8000", b"__Host-a=b; Path=/; Secure", b"__Host-a=b; Path=/; Secure"),
        ("http://orders:8000", b"a=b; Path", b"a=b; Path"),
        ("http://orders:8000", b"a=b; Path=x", b"a=b; Path=x"),
    ],
)
def test_cookies_that_come_back(upstream: str, said: bytes, kept: bytes) -> None:
    """A kept cookie is for our host, and for the path that leads to its backend."""
    assert kept == seen(rules(upstream=upstream, keep_cookies=True), said, b"set-cookie")


def test_cookies_are_left_alone_otherwise() -> None:
    """Where a setting says so, and where none comes back to the backend anyway."""
    said = b"a=b; Path=/; Domain=127.0.0.1"
    assert said == seen(rules(), said, b"set-cookie")
    assert said == seen(rules(keep_cookies=True, map_cookies=False), said, b"set-cookie")
