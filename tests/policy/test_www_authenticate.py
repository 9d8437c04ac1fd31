"""Challenges of a backend: none that opens a browser's password prompt passes (RFC 9110, 11.6.1; H-14)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.policy.header_rules import HeaderRules
from bff.policy.public_origin import PublicOrigin
from bff.policy.www_authenticate import passing_challenges
from bff.settings.model import RouteSettings

GOOD = frozenset({b"bearer", b"dpop"})


@pytest.mark.requirement("H-14")
@pytest.mark.parametrize(
    ("value", "passing"),
    [
        (b"Basic", None),
        (b'Basic realm="orders"', None),
        (b'basic realm="orders", charset="UTF-8"', None),
        (b'Digest realm="a, b", qop="auth", nonce="n", algorithm=SHA-256', None),
        (b"NTLM", None),
        (b"NTLM TlRMTVNTUAACAAAA==", None),
        (b"Negotiate", None),
        (b"Negotiate YII=", None),
        (b"Kerberos", None),
        (b"Unheard-Of x=y", None),
        (b"Bearer", b"Bearer"),
        (b'Bearer realm="orders"', b'Bearer realm="orders"'),
        (
            b'bearer realm="a, Basic b", error="invalid_token"',
            b'bearer realm="a, Basic b", error="invalid_token"',
        ),
        (b'Bearer error = "x" , scope="a b"', b'Bearer error="x", scope="a b"'),
        (b'DPoP algs="ES256 PS256"', b'DPoP algs="ES256 PS256"'),
        (b'Basic realm="a", Bearer realm="b"', b'Bearer realm="b"'),
        (b'Bearer realm="b", Basic realm="a"', b'Bearer realm="b"'),
        (b'Bearer realm="b",Basic realm="a",DPoP algs="x"', b'Bearer realm="b", DPoP algs="x"'),
        (b"Negotiate, Bearer, NTLM", b"Bearer"),
        (b'Negotiate YII=, Bearer error="x"', b'Bearer error="x"'),
        (b", ,Basic,, Bearer ,", b"Bearer"),
        (b'Bearer realm="a\\", Basic realm=\\"b"', b'Bearer realm="a\\", Basic realm=\\"b"'),
        (b'Bearer\trealm="b"\t,\tBasic\trealm="a"', b'Bearer realm="b"'),
        (b'Bearer realm="x" error="y"', b'Bearer realm="x", error="y"'),
        (b'Bearer realm="x" Basic realm="y"', b'Bearer realm="x"'),
        (b'Bearer x="1", Basic ="y"', b'Bearer x="1", Basic="y"'),  # a parameter, and read as one
        (b'Bearer realm="open, Basic realm=x', None),
        (b'Bearer realm="a"Basic realm="b"', None),
        (b"Bearer =, Basic", None),
        (b'"Basic" realm="x"', None),
        (b"Basic/Bearer", None),
        (b"", None),
        (b",", None),
    ],
)
def test_challenges(value: bytes, passing: bytes | None) -> None:
    """Several in one line are told apart, commas in quotes and among parameters included."""
    assert passing == passing_challenges(value, GOOD)


@given(
    st.lists(
        st.sampled_from(
            [b"Basic", b"Bearer", b"Digest", b" ", b",", b"=", b'"', b"\\", b"a", b"realm", b"\t", b"/"]
        ),
        max_size=14,
    )
)
def test_what_passes_begins_each_challenge_with_a_good_scheme(pieces: list[bytes]) -> None:
    """Read again, what passed passes unchanged: nothing in it was hidden."""
    passing = passing_challenges(b"".join(pieces), GOOD)
    if passing is not None:
        assert passing.startswith(b"Bearer")
        assert passing == passing_challenges(passing, GOOD)


def answered(**route: object) -> list[bytes]:
    settings = RouteSettings.model_validate({"path": "/api", "upstream": "http://x", **route})
    rules = HeaderRules.compiled(settings, PublicOrigin.parse("https://app.example.com"), b"x-csrf")
    values = [b'Basic realm="x"', b"Bearer, Hawk", b"NTLM"]
    headers = rules.response(401, [(b"www-authenticate", value) for value in values])
    return [value for name, value in headers if name == b"www-authenticate"]


@pytest.mark.requirement("H-14")
@pytest.mark.parametrize("auth", ["required", "optional", "none"])
def test_on_each_route(auth: str) -> None:
    """What is typed into a prompt goes nowhere on any route: `Authorization` is always ours."""
    assert [b"Bearer"] == answered(auth=auth)


@pytest.mark.requirement("H-14")
@pytest.mark.parametrize("status", [200, 401, 403, 404, 500])
def test_whatever_the_status(status: int) -> None:
    """A challenge may come with any answer."""
    rules = HeaderRules.compiled(
        RouteSettings(path="/api", upstream="http://x"), PublicOrigin.parse("https://a.example"), b"x-csrf"
    )
    assert b"www-authenticate" not in dict(rules.response(status, [(b"www-authenticate", b"Basic")]))
    assert b"www_authenticate" not in dict(rules.response(status, [(b"www_authenticate", b"Basic")]))


def test_the_setting_names_others() -> None:
    """A scheme of one's own passes where it is named; all do where a route lets `Authorization` through."""
    assert [b"Bearer, Hawk"] == answered(challenges=["bearer", "hawk"])
    assert [b'Basic realm="x"', b"Bearer, Hawk", b"NTLM"] == answered(
        auth="none", pass_request_headers=["authorization"]
    )
