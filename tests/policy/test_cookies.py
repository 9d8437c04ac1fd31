"""The byte-level cookie parser."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bff.policy.cookie_names import PLAIN_COOKIE, SESSION_COOKIE, is_own, own_cookie, sets_own, without_own
from bff.policy.cookie_parser import cookie_values, only_value, values_by_name


@pytest.mark.parametrize(
    ("headers", "values"),
    [
        ([], []),
        ([b""], []),
        ([b"bff=a"], [b"a"]),
        ([b"x=1; bff=a; y=2"], [b"a"]),
        ([b"x=1;bff=a"], [b"a"]),
        ([b"\t bff \t=\t a \t;"], [b"a"]),
        ([b"bff="], [b""]),
        ([b"bff"], []),
        ([b"=bff"], []),
        ([b"=bff=a"], []),
        ([b'bff="a"'], [b'"a"']),
        ([b"bff=a=b=="], [b"a=b=="]),
        ([b"bff=%61"], [b"%61"]),
        ([b"BFF=a"], []),
        ([b"bff2=a; xbff=b"], []),
        ([b"x=bff"], []),
        ([b";;; bff=a ;;"], [b"a"]),
        ([b"bff=a,bff=b"], [b"a,bff=b"]),
    ],
)
def test_values(headers: list[bytes], values: list[bytes]) -> None:
    """A value is what stands after the first `=`, without blanks, never unquoted nor decoded."""
    assert values == cookie_values(headers, b"bff")


@pytest.mark.requirement("B-32")
@given(
    st.lists(st.sampled_from([b"bff", b"=", b";", b" ", b"\t", b"\xa0", b"x", b"a", b'"', b"\0"]), max_size=9)
)
@example([b"bff=a; bff=x"])
@example([b"bff=a;bff=a"])
@example([b"x=bff; bff=a"])
@example([b"xbff=a; y=b"])
@example([b"x; bff =a"])
@example([b"x;\tbff=a"])
@example([b"x=1; bff=a; y=2"])
def test_the_only_value(pieces: list[bytes]) -> None:
    """The short cut for one cookie gives the value that the parser gives, and none where there are two."""
    header = b"".join(pieces)
    values = cookie_values([header], b"bff")
    assert (values[0] if len(values) == 1 else None) == only_value(header, b"bff")


@pytest.mark.requirement("B-32")
@pytest.mark.parametrize(
    "tossed",
    [
        b"\xa0bff=evil",
        b"bff\xa0=evil",
        b"\x0bbff=evil",
        b"\x85bff=evil",
        b"\xc2\xa0bff=evil",
        b"\x00bff=evil",
    ],
)
def test_white_space_that_is_none(tossed: bytes) -> None:
    """A name dressed with bytes that other parsers strip is another name."""
    assert [b"mine"] == cookie_values([b"bff=mine; " + tossed], b"bff")


@pytest.mark.requirement("B-32")
@pytest.mark.parametrize("headers", [[b"bff=a; bff=a"], [b"bff=a", b"bff=a"], [b"bff=a;bff =a"]])
def test_twice(headers: list[bytes]) -> None:
    """Our name twice gives two values, even where they are equal, in one header or in two."""
    assert [b"a", b"a"] == cookie_values(headers, b"bff")


@pytest.mark.requirement("B-14")
@pytest.mark.parametrize(
    ("header", "rest"),
    [
        (b"bff=a", None),
        (b" ; bff=a", None),
        (b"__Host-Http-bff=a", None),
        (b"__Host-Http-bff-tx-1=a; __Host-Http-bff-logout=b; bff-tx-9=c", None),
        (b"__host-HTTP-BFF=a", None),
        (b"a=1; bff=x; b=2", b"a=1; b=2"),
        (b"bff=x; b=2", b"b=2"),
        (b'a="1 ";bff=x;b=\xa0 2', b'a="1 ";b=\xa0 2'),
        (b"a=1; =bff=x; bff ; b", b"a=1; b"),
        (b"a=1; b=bff", b"a=1; b=bff"),
        (b"bffx=1; xbff-=2", b"bffx=1; xbff-=2"),
        (b"", None),
    ],
)
def test_without_own(header: bytes, rest: bytes | None) -> None:
    """Our cookies never go on to a backend, and the others do unchanged."""
    assert rest == without_own(header)


@pytest.mark.requirement("B-34")
@pytest.mark.parametrize(
    ("value", "own"),
    [
        (b"bff=x; Path=/", True),
        (b"__Host-Http-bff=; Max-Age=0", True),
        (b"\t__HOST-http-bff =x", True),
        (b"__Host-Http-bff-tx-abc=x", True),
        (b"=bff=x", True),
        (b" = = bff=x", True),
        (b"bff", True),
        (b"theme=bff; Path=/", False),
        (b"theme=dark; bff=x", False),
        (b"", False),
    ],
)
def test_sets_own(value: bytes, own: bool) -> None:
    """A backend cannot plant, replace or clear a cookie of ours, by no spelling."""
    assert own is sets_own(value)


def test_names() -> None:
    """The names are the published ones, and own."""
    assert (b"__Host-Http-bff", b"bff") == (SESSION_COOKIE, PLAIN_COOKIE)
    assert is_own(SESSION_COOKIE + b"=1")
    assert is_own(PLAIN_COOKIE + b"=1")


@pytest.mark.requirement("B-32")
def test_cookies_of_one_family_are_found_by_their_prefix() -> None:
    """Each name keeps all its values, so that a planted double is seen; other names are left out."""
    headers = [b"a=1; bff-tx-x=2;bff-tx-y = 3", b"bff-tx-x=4; \xa0bff-tx-z=5; bff-tx-w"]
    assert {b"bff-tx-x": [b"2", b"4"], b"bff-tx-y": [b"3"]} == values_by_name(headers, b"bff-tx-")


def test_no_frontend_has_a_cookie_of_anothers_name() -> None:
    """Whatever the paths are called: `/a` has no `-logout` where `/a-logout` has its session."""
    paths = ("", "/a", "/a-logout", "/a/b", "/a-tx-0123456789abcdef", "/-logout", "/a/-logout")
    kinds = ("", "-logout", "-tx-0123456789abcdef")
    names = [own_cookie("https://app.example", path, kind) for path in paths for kind in kinds]
    assert len(names) == len(set(names))
    assert all(is_own(f"{name}=x".encode()) for name in names)
