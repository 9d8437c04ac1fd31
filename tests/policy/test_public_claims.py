"""Which claims are kept, and shown to a page."""

from bff.policy.public_claims import PROTOCOL_CLAIMS, public_claims

CLAIMS = {"sub": "alice", "name": "Alice", "nonce": "n", "iss": "https://id.example.com", "groups": ["a"]}


def test_the_protocols_own_claims_are_left_out() -> None:
    """All others stay, whatever they are."""
    assert {"sub": "alice", "name": "Alice", "groups": ["a"]} == public_claims(CLAIMS, None)
    assert {} == public_claims(dict.fromkeys(PROTOCOL_CLAIMS, 1), None)


def test_exactly_the_listed_claims() -> None:
    """One of the protocol's too; one that is not there is not made up; none for an empty list."""
    assert {"nonce": "n", "sub": "alice"} == public_claims(CLAIMS, ("nonce", "sub", "email"))
    assert {} == public_claims(CLAIMS, ())
