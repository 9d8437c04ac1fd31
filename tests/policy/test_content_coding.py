"""Which coding of a file a client gets."""

import pytest

from bff.policy.content_coding import choose_coding

BOTH = ("br", "gzip")


@pytest.mark.parametrize(
    ("expected", "accept", "offered"),
    [
        ("br", "gzip, deflate, br, zstd", BOTH),
        ("gzip", "gzip, deflate", BOTH),
        ("gzip", "gzip, br", ("gzip",)),
        ("gzip", "br;q=0.5, gzip;q=0.8", BOTH),
        ("br", "BR ; q=1.0", BOTH),
        ("br", "*", BOTH),
        ("gzip", "*;q=0.1, br;q=0", BOTH),
        (None, "", BOTH),
        (None, "identity", BOTH),
        (None, "identity;q=1, gzip;q=0.5", BOTH),
        (None, "br;q=0, gzip;q=0.0", BOTH),
        (None, "br;q=nonsense", BOTH),
        (None, "zstd", BOTH),
        (None, "br", ()),
    ],
)
def test_the_best_that_both_know(expected: str | None, accept: str, offered: tuple[str, ...]) -> None:
    """By the client's weights, then by our order; nothing that the client does not name."""
    assert expected == choose_coding(accept, offered)
