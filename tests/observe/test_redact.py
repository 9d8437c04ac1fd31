"""The last wall before a log line."""

import secrets
from collections import UserDict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from bff.errors import Problem
from bff.observe.redact import MASK, MAX_DEPTH, names_secret, one_line, redact, redact_text

JWT = (
    "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiJhbGljZSIsImlzcyI6Imh0dHBzOi8vaWQifQ."
    "c2lnbmF0dXJlLW9mLXRoZS10b2tlbi1pbi1iYXNlNjR1cmw"
)
JWE = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..aXZpdml2aXZpdg.Y2lwaGVydGV4dA.dGFndGFndGFn"
UNSIGNED = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0."
SPACED = "eyAiYWxnIjogIkVTMjU2IiB9.eyJzdWIiOiJhbGljZSJ9.c2ln"
HANDLE = "A" * 42 + "_." + "-" * 42 + "9"

pytestmark = [pytest.mark.requirement("B-08", "B-24")]


@pytest.mark.parametrize("secret", [JWT, JWE, UNSIGNED, SPACED, HANDLE, JWT[:80]])
@pytest.mark.parametrize("text", ["{}", "token {} was refused", "a={};b", "['{}']", "x{}"])
def test_shapes_are_masked_wherever_they_stand(secret: str, text: str) -> None:
    """A token or a handle inside any text is gone from it."""
    assert secret not in redact_text(text.format(secret))
    assert MASK in redact_text(text.format(secret))


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        (f"Authorization: {MASK}", "Authorization: Bearer abc"),
        (f"sent Bearer {MASK} to it", "sent Bearer opaque.token-1234 to it"),
        (f"GET /\r\ncookie: {MASK}\r\nhost: a", "GET /\r\ncookie: bff=abc; x=y\r\nhost: a"),
        (f"https://a/cb?code={MASK}&state=1", "https://a/cb?code=SplxlOBeZQ&state=1"),
        (f"https://a/cb?state=1&code={MASK}", "https://a/cb?state=1&code=SplxlOBeZQ"),
        (f"grant_type=x&refresh_token={MASK}", "grant_type=x&refresh_token=8xLOxBtZp8"),
        (f"client_secret={MASK}&a=b", "client_secret=gX1fBat3bV&a=b"),
        (f"{{'access_token': {MASK}, 'a': 1}}", "{'access_token': 'opaque', 'a': 1}"),
        (f'{{"code":{MASK}}}', '{"code":"opaque"}'),
        (f"[(b'cookie', b{MASK})]", "[(b'cookie', b'bff=1')]"),
        (f"redis://{MASK}@redis:6379/0", "redis://:hunter2@redis:6379/0"),
    ],
)
def test_named_values_are_masked_in_texts(expected: str, text: str) -> None:
    """What stands behind a telling name is masked, and no more than that."""
    assert expected == redact_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "session_expired",
        "status code: 401",
        "exit code=1",
        "connect to 127.0.0.1:6379 refused",
        "/api/orders/7",
        "bff.session.store",
        "2026-11-23T14:58:30.485790Z",
        "client_secret_basic",
        "alice@example.com",
        "https://id.example.com/.well-known/openid-configuration",
        "0123456789abcdef0123456789abcdef",
    ],
)
def test_ordinary_texts_stay(text: str) -> None:
    """A log that masks everything is no log."""
    assert text == redact_text(text)


SECRET_NAMES = [
    "Authorization",
    "Cookie",
    "Set-Cookie",
    "set_cookie",
    "code",
    "client_secret",
    "access_token",
    "refresh_token",
    "id_token",
    "logout_token",
    "Refresh-Token",
    "password",
    "Proxy-Authorization",
]


@pytest.mark.parametrize("name", [*SECRET_NAMES, b"cookie"])
def test_names_of_secrets_are_known(name: str | bytes) -> None:
    """Keys, headers and parameters that hold secrets are known in every spelling."""
    assert names_secret(name) is True
    assert {(name.decode() if isinstance(name, bytes) else name): MASK} == redact({name: "opaque"})


@pytest.mark.parametrize("problem", list(Problem), ids=lambda problem: problem.code)
def test_the_code_of_a_problem_is_no_secret(problem: Problem) -> None:
    """A refusal's line says which problem it was; every other value by that name stays masked."""
    assert {"code": problem.code} == redact({"code": problem.code})
    assert {"code": MASK} == redact({"code": f"{problem.code}x"})
    assert {"code": MASK} == redact({"code": f" {problem.code}"})
    assert {"client_secret": MASK} == redact({"client_secret": problem.code})


@pytest.mark.parametrize("name", ["status", "sub", "tokens", "access_token_expires_in", 7, None])
def test_other_names_are_not(name: object) -> None:
    """Times and counts of tokens are no secrets."""
    assert names_secret(name) is False


def test_nested_values_are_searched() -> None:
    """A secret is found at any depth, in any collection, and in bytes."""
    found = redact(
        {
            "request": UserDict({"headers": [("Cookie", "bff=1"), (b"authorization", b"x"), ("host", "a")]}),
            "texts": (JWT, HANDLE.encode(), bytearray(b"plain")),
            "names": {JWT, "b"},
            "answer": {
                "refresh_token": "opaque",
                "expires_in": 60,
                "id_token": None,
                "code": 7,
                "has_token": True,
            },
            JWT: "as a key",
        }
    )
    assert {
        "request": {"headers": [["Cookie", MASK], ["authorization", MASK], ["host", "a"]]},
        "texts": [MASK, MASK, "plain"],
        "names": [MASK, "b"],
        "answer": {
            "refresh_token": MASK,
            "expires_in": 60,
            "id_token": None,
            "code": MASK,
            "has_token": True,
        },
        MASK: "as a key",
    } == found


def test_objects_are_masked_by_their_text() -> None:
    """An object's own text is searched as well, and a SecretStr hides itself."""
    assert f"ValueError('token {MASK}')" == redact(ValueError(f"token {JWT}"))
    assert "hunter2" not in redact(SecretStr("hunter2"))


def test_a_cycle_ends() -> None:
    """A value that holds itself is cut, not followed for ever."""
    loop: list[object] = []
    loop.append(loop)
    found = redact(loop)
    for _ in range(MAX_DEPTH - 1):
        (found,) = found
    assert [MASK] == found


def test_an_event_stays_on_one_line() -> None:
    """A line break in a stranger's text cannot forge a log line."""
    assert "a\\nb\\rc\\td\\x1b[31m\\u2028" == one_line("a\nb\rc\td\x1b[31m\u2028")
    assert "plain ünï" == one_line("plain ünï")
    assert "\\u202egnp\\u2066x\\u200f" == one_line("\u202egnp\u2066x\u200f")
    assert "\\ud800" == one_line("\ud800")
    assert "\u0645\u200c\u0646" == one_line("\u0645\u200c\u0646")  # a joiner, as Persian is spelt


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_handle_is_masked_in_any_surroundings(before: str, after: str) -> None:
    """No neighbour hides a handle from the wall."""
    handle = f"{secrets.token_urlsafe(32)}.{secrets.token_urlsafe(32)}"
    assert handle not in redact_text(before + handle + after)
