"""A client's own bearer token beside a session's cookie."""

import pytest

from bff.policy.bearer_token import Bearer, Both, Doubled, presented
from bff.policy.cookie_names import is_session, own_cookie

TOKEN = (b"authorization", b"Bearer a.b.c")


@pytest.mark.requirement("P-10")
@pytest.mark.parametrize(
    ("expected", "headers"),
    [
        (None, []),
        (None, [(b"accept", b"*/*")]),
        (None, [(b"cookie", b"bff=x")]),
        (None, [(b"authorization", b"Basic YTpi")]),
        (None, [(b"authorization", b"DPoP a.b.c")]),
        (None, [(b"authorization", b"Basic YTpi"), (b"authorization", b"Basic YTpi")]),
        (Bearer(b"a.b.c"), [TOKEN]),
        (Bearer(b"a.b.c"), [(b"authorization", b" bEARER   a.b.c ")]),
        (Bearer(b""), [(b"authorization", b"Bearer")]),
        (
            Bearer(b"a.b.c"),
            [TOKEN, (b"cookie", b"bffet=1"), (b"cookie", b"bff-tx-1=x; bff-logout=y")],
        ),
        (Both(), [TOKEN, (b"cookie", b"theme=dark; bff=x")]),
        (Both(), [TOKEN, (b"cookie", b"theme=dark"), (b"cookie", b"__host-HTTP-bff=x")]),
        (Both(), [TOKEN, (b"cookie", b"=bff=x")]),
        (Both(), [TOKEN, (b"cookie", b"bff.shop=x")]),
        (Doubled(), [TOKEN, TOKEN]),
        (Doubled(), [(b"authorization", b"Basic YTpi"), TOKEN]),
    ],
)
def test_what_a_request_brings(
    expected: Bearer | Both | Doubled | None, headers: list[tuple[bytes, bytes]]
) -> None:
    """A token, alone in its field; a cookie that could be taken for a session's makes it both."""
    assert expected == presented(headers)


def test_the_cookies_of_sessions() -> None:
    """Those of a sign-in under way, and of a sign-out, are none."""
    assert is_session(b" __Host-Http-bff = x")
    assert not any(map(is_session, (b"__Host-Http-bff-tx-1=x", b"bff-logout=x", b"other=bff")))


@pytest.mark.requirement("P-10", "P-01")
@pytest.mark.parametrize("url", ["https://app.example.com", "http://localhost"])
@pytest.mark.parametrize("base", ["", "/shop", "/a/b-c", "/a-tx-b", "/x-logout", "/tx-1", "/-logout"])
def test_the_cookies_of_sessions_under_a_base_path(url: str, base: str) -> None:
    """A session's cookie is one whatever words its path has; those of a sign-in and a sign-out are none."""
    assert is_session(f"{own_cookie(url, base)}=x".encode())
    passing = [own_cookie(url, base, kind) for kind in ("-tx-" + "0" * 16, "-logout")]
    assert not any(is_session(f"{name}=x".encode()) for name in passing)
