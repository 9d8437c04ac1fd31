"""The parts of URLs and paths among the settings."""

import pytest

from bff.settings.url_parts import is_loopback, under

LOOPBACK = ["localhost", "app.localhost", "LOCALHOST.", "127.0.0.1", "127.9.9.9", "::1", "[::1]"]
ELSEWHERE = [
    "",
    "localhost.example",
    "notlocalhost",
    "128.0.0.1",
    "127.0.0.1.evil.example",
    "::2",
    "example.com",
]


@pytest.mark.parametrize(
    ("expected", "host"), [*((True, host) for host in LOOPBACK), *((False, host) for host in ELSEWHERE)]
)
def test_loopback(expected: bool, host: str) -> None:
    """Only this machine counts as loopback."""
    assert expected is is_loopback(host)


def test_under_is_by_whole_segments() -> None:
    """A prefix covers itself and what is below it, whatever the case and the query."""
    assert [True, True, True, False] == [
        under(path, "/api") for path in ("/api", "/API/x", "/api?x", "/apix")
    ]
