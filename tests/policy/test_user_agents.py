"""What a `User-Agent` field says, in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.policy.user_agents import Device, described

_WEBKIT = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
_BLINK = "AppleWebKit/537.36 (KHTML, like Gecko)"
_WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"
_MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"
_IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X)"
_ANDROID = "Mozilla/5.0 (Linux; Android 10; K)"


@pytest.mark.parametrize(
    ("browser", "system", "field"),
    [
        (
            "Firefox 128",
            "Windows",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0",
        ),
        ("Firefox 128", "Linux", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        (
            "Firefox 127",
            "Android",
            "Mozilla/5.0 (Android 14; Mobile; rv:127.0) Gecko/127.0 Firefox/127.0",
        ),
        ("Firefox 127", "iPhone", f"{_IPHONE} {_WEBKIT} FxiOS/127.0 Mobile/15E148 Safari/605.1.15"),
        ("Chrome 126", "Windows", f"{_WINDOWS} {_BLINK} Chrome/126.0.0.0 Safari/537.36"),
        ("Chrome 126", "macOS", f"{_MAC} {_BLINK} Chrome/126.0.0.0 Safari/537.36"),
        ("Chrome 126", "Android", f"{_ANDROID} {_BLINK} Chrome/126.0.0.0 Mobile Safari/537.36"),
        ("Chrome 126", "iPhone", f"{_IPHONE} {_WEBKIT} CriOS/126.0.6478.35 Mobile/15E148 Safari/604.1"),
        (
            "Chrome 126",
            "ChromeOS",
            f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {_BLINK} Chrome/126.0.0.0 Safari/537.36",
        ),
        ("Edge 126", "Windows", f"{_WINDOWS} {_BLINK} Chrome/126.0.0.0 Safari/537.36 Edg/126.0.2592.68"),
        (
            "Edge 126",
            "Android",
            f"{_ANDROID} {_BLINK} Chrome/126.0.0.0 Mobile Safari/537.36 EdgA/126.0.2592.56",
        ),
        ("Opera 111", "Windows", f"{_WINDOWS} {_BLINK} Chrome/125.0.0.0 Safari/537.36 OPR/111.0.0.0"),
        ("Safari 17", "macOS", f"{_MAC} {_WEBKIT} Version/17.5 Safari/605.1.15"),
        ("Safari 17", "iPhone", f"{_IPHONE} {_WEBKIT} Version/17.5 Mobile/15E148 Safari/604.1"),
        (
            "Safari 16",
            "iPad",
            f"Mozilla/5.0 (iPad; CPU OS 16_7 like Mac OS X) {_WEBKIT} Version/16.6 Mobile/15E148 Safari/604",
        ),
        (
            "Samsung Internet 25",
            "Android",
            f"{_ANDROID} {_BLINK} SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36",
        ),
        ("DuckDuckGo 17", "macOS", f"{_MAC} {_WEBKIT} Version/17.5 Safari/605.1.15 Ddg/17.5"),
        ("curl 8", None, "curl/8.5.0"),
        (None, None, "python-httpx/0.28.1"),
        (None, None, ""),
    ],
)
def test_common_browsers_are_named(browser: str | None, system: str | None, field: str) -> None:
    """The one that it is, not those that it claims to be as well."""
    assert Device(browser, system) == described(field)


@given(st.text() | st.from_regex(r"\A(Version|Firefox|Mozilla)/\d{1,9}[\s\S]{0,50}\Z"))
def test_no_field_is_repeated(field: str) -> None:
    """Whatever a client sends, the words are of our own, short, and of one line."""
    for words in (described(field).browser, described(field).system):
        assert words is None or (len(words) <= 30 and words.isprintable() and "<" not in words)
