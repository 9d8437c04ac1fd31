"""What is taken of a userinfo answer, and when it is asked for; the sign-in as a whole: tests/web."""

from typing import Any

import pytest

from bff.oidc.userinfo import is_wanted, merged
from bff.settings.model import ProviderSettings

ISSUER = "https://id.example.com"


@pytest.mark.parametrize(
    ("expected", "document"),
    [
        ({"sub": "alice", "name": "Alice"}, {"sub": "alice"}),
        ({"sub": "alice", "name": "Alice", "email": "a@x"}, {"sub": "alice", "email": "a@x"}),
        ({"sub": "alice", "name": "Alice"}, {"sub": "alice", "name": "Mallory"}),
        ({"sub": "alice", "name": "Alice"}, {"sub": "alice", "email": None}),
        (None, {"sub": "mallory", "email": "a@x"}),
        (None, {"sub": "Alice", "email": "a@x"}),
        (None, {"sub": None, "email": "a@x"}),
        (None, {"email": "a@x"}),
        (None, ["alice"]),
        (None, None),
    ],
)
def test_both_are_put_together(expected: Any, document: Any) -> None:
    """The signed ID token comes first; a document of another sub gives nothing (Core 5.3.2)."""
    assert expected == merged({"sub": "alice", "name": "Alice"}, document)


def test_a_claim_that_the_id_token_leaves_null() -> None:
    """The document may fill it in; where it does not, it stays null."""
    claims = {"sub": "alice", "name": None, "email": None}
    expected = {"sub": "alice", "name": "Alice", "email": None}
    assert expected == merged(claims, {"sub": "alice", "name": "Alice", "email": None})


@pytest.mark.parametrize("name", ["iss", "aud", "exp", "iat", "nonce", "sid", "acr", "amr", "auth_time"])
def test_what_only_an_id_token_can_say(name: str) -> None:
    """Nothing about the sign-in itself is believed of a document that nobody signed."""
    assert {"sub": "alice"} == merged({"sub": "alice"}, {"sub": "alice", name: "x"})


@pytest.mark.parametrize(
    ("expected", "setting", "wanted", "claims"),
    [
        (True, "auto", None, {"sub": "alice", "name": "Alice"}),
        (True, "auto", None, {"sub": "alice", "name": "Alice", "email": None}),
        (False, "auto", None, {"sub": "alice", "name": "Alice", "email": "a@x"}),
        (True, "auto", ("groups",), {"sub": "alice", "name": "Alice", "email": "a@x"}),
        (False, "auto", ("groups",), {"sub": "alice", "groups": []}),
        (False, "auto", ("acr",), {"sub": "alice"}),
        (True, "always", None, {"sub": "alice", "name": "Alice", "email": "a@x"}),
        (False, "never", None, {"sub": "alice"}),
    ],
)
def test_when_it_is_asked(
    *, expected: bool, setting: str, wanted: tuple[str, ...] | None, claims: dict[str, Any]
) -> None:
    """`auto`: where a claim that is wanted is missing, and could be told there."""
    settings = ProviderSettings.model_validate(
        {"issuer": ISSUER, "client_id": "c", "client_secret": "s", "userinfo": setting, "claims": wanted}
    )
    assert expected is is_wanted(claims, settings)
