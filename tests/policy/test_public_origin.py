"""The origin that browsers see, parsed from a URL."""

import pytest

from bff.policy.public_origin import PublicOrigin


@pytest.mark.parametrize(
    ("url", "origin", "host"),
    [
        ("https://app.example.com", b"https://app.example.com", b"app.example.com"),
        ("https://App.Example.com:443/", b"https://app.example.com", b"app.example.com"),
        ("http://localhost:8080", b"http://localhost:8080", b"localhost:8080"),
        ("http://[::1]:80", b"http://[::1]", b"[::1]"),
        ("https://x:80", b"https://x:80", b"x:80"),
    ],
)
def test_public_origin(url: str, origin: bytes, host: bytes) -> None:
    """An origin is written as browsers write it."""
    public = PublicOrigin.parse(url)
    assert (origin, host) == (public.origin, public.host)


@pytest.mark.parametrize(
    "url", ["app.example.com", "ftp://x", "https://", "https://u@x", "https://x/app", "https://x?y"]
)
def test_no_origin(url: str) -> None:
    """What is no origin is refused at start."""
    with pytest.raises(ValueError, match="write it like"):
        PublicOrigin.parse(url)
