"""The discovery document."""

import pytest

from bff.issuer.endpoints.metadata import discovery_document


@pytest.mark.parametrize(
    ("algorithms", "named"),
    [
        (["ES256"], ["ES256"]),
        (["RS256", "ES256"], ["ES256", "RS256"]),
        (["ES256", "RS256", "ES256"], ["ES256", "RS256"]),
    ],
)
def test_each_algorithm_is_named_once_and_in_order(algorithms: list[str], named: list[str]) -> None:
    """Two keys of one kind are one algorithm, and processes that hold them in another order say the same.

    A client that takes ID tokens by this list would refuse those of a key whose algorithm is not in it.
    """
    document = discovery_document("https://id.example", iter(algorithms))
    assert named == document["id_token_signing_alg_values_supported"]
