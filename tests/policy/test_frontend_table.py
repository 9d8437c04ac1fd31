"""The frontend of a request: by Host, then by the longest prefix of whole segments."""

import pytest

from bff.policy.frontend_table import FrontendTable, Placed
from bff.policy.public_origin import PublicOrigin

TABLE = FrontendTable(
    Placed(PublicOrigin.parse(url), path, name)
    for url, path, name in (
        ("https://one.example", "", "one"),
        ("https://two.example", "/a", "two a"),
        ("https://two.example", "/a/b", "two a b"),
        ("https://both.example", "", "both"),
        ("https://both.example", "/shop", "both shop"),
        ("http://localhost:8080", "", "local"),
    )
)


@pytest.mark.requirement("P-01")
@pytest.mark.parametrize(
    ("host", "path", "frontend"),
    [
        (b"one.example", b"/anything", "one"),
        (b"One.Example:443", b"/", "one"),
        (b"one.example:80", b"/", None),
        (b"three.example", b"/", None),
        (b"", b"/", None),
        (b"two.example", b"/a", "two a"),
        (b"two.example", b"/a/c", "two a"),
        (b"two.example", b"/a/b/c", "two a b"),
        (b"two.example", b"/a/bc", "two a"),
        (b"two.example", b"/elsewhere", "two a b"),
        (b"both.example", b"/shop/bff/user", "both shop"),
        (b"both.example", b"/shopping", "both"),
        (b"both.example", b"/SHOP", "both"),
        (b"both.example", b"/%73hop", "both"),
        (b"localhost:8080", b"/", "local"),
        (b"localhost", b"/", None),
    ],
)
def test_a_request_belongs_to_one_frontend(host: bytes, path: bytes, frontend: str | None) -> None:
    """Hosts in the spellings of their scheme, paths as they come; nobody's host is nobody's request."""
    assert frontend == TABLE.of(host, path)
    assert frontend == TABLE.of_request([(b"accept", b"*/*"), (b"host", host)], path)


@pytest.mark.parametrize(
    ("headers", "path", "frontend"),
    [
        ([(b"x-forwarded-host", b"both.example"), (b"x-forwarded-uri", b"/shop/api?a=/b")], b"", "both shop"),
        ([(b"x-forwarded-host", b"both.example"), (b"x-original-uri", b"/api")], b"", "both"),
        ([(b"x-original-url", b"https://both.example/shop/api")], b"", "both shop"),
        ([(b"x-forwarded-host", b"two.example")], b"/a/b/x", "two a b"),
        ([], b"/shop", "both shop"),
        ([(b"x-forwarded-host", b"foreign.example")], b"/x", "one"),
    ],
)  # fmt: skip
def test_a_question_belongs_to_the_frontend_that_it_asks_about(
    headers: list[tuple[bytes, bytes]], path: bytes, frontend: str
) -> None:
    """By what the reverse proxy tells of the client's request; a foreign host is for anybody to refuse."""
    asked = [(b"host", b"both.example"), *headers]
    assert frontend == TABLE.of_request(asked, b"/bff/forward-auth" + path)


@pytest.mark.parametrize("more", [[], [b"both.example", b"one.example"], [b"one.example"] * 2])
def test_a_request_with_two_hosts_or_none_is_nobodys(more: list[bytes]) -> None:
    """Another server than ours may let it through, and what is in front of it may have read the other one."""
    assert None is TABLE.of_request([(b"host", host) for host in more], b"/x")


def test_all_spellings_of_all_hosts_are_known() -> None:
    """For the request parser."""
    assert {b"one.example", b"one.example:443", b"localhost:8080"} < TABLE.hosts
