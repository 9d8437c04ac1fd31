"""What servers say about proofs of possession (RFC 9449 8, 9)."""

import pytest

from bff.policy.dpop_challenge import given_nonce, refuses_proof, usable_nonce

ASKS = (b"www-authenticate", b'DPoP error="use_dpop_nonce", algs="ES256"')


def test_only_a_nonce_that_can_be_repeated_is_one() -> None:
    """It goes into JSON as it is: quotes, blanks and excess are refused."""
    assert "abc-._~" == usable_nonce(b"abc-._~")
    for value in (b"", b'a"b', b"a\\b", b"a b", "ä".encode(), b"a\n", b"a" * 513):
        assert "" == usable_nonce(value)


@pytest.mark.requirement("P-03")
def test_the_nonce_of_an_answer() -> None:
    """Its own field gives it; the first one counts."""
    assert "" == given_nonce([ASKS])
    assert "one" == given_nonce([ASKS, (b"dpop-nonce", b"one"), (b"dpop-nonce", b"two")])
    assert "" == given_nonce([(b"dpop-nonce", b'o"ne')])


@pytest.mark.requirement("P-03")
@pytest.mark.parametrize(
    ("expected", "value"),
    [
        (True, ASKS[1]),
        (True, b"DPoP error=use_dpop_nonce"),
        (True, b'Bearer realm="a", DPoP algs="ES256", error = "invalid_dpop_proof"'),
        (False, b'DPoP error="invalid_token"'),
        (False, b'DPoP error_description="use_dpop_nonce"'),
        (False, b'DPoP error="use_dpop_nonce_2"'),
    ],
)
def test_a_refused_proof_is_told_from_a_refused_token(*, expected: bool, value: bytes) -> None:
    """By the error code of the challenge, and of nothing else."""
    assert expected is refuses_proof([(b"www-authenticate", value)])
    assert not refuses_proof([(b"x-authenticate", value)])
