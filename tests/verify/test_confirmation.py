"""The binding of a token, and certificates as servers and proxies tell them."""

from base64 import b64encode
from typing import Any
from urllib.parse import quote

import pytest

from bff.verify.confirmation import UNBOUND, Confirmation, read_certificate, read_confirmation

PRINT = "x" * 43
DER = bytes(range(60))
PEM = f"-----BEGIN CERTIFICATE-----\n{b64encode(DER).decode()}\n-----END CERTIFICATE-----\n"
BASE64 = b64encode(DER).decode()


@pytest.mark.requirement("P-03", "P-04")
@pytest.mark.parametrize(
    ("claims", "found"),
    [
        ({}, UNBOUND),
        ({"cnf": {"jkt": PRINT}}, Confirmation(jkt=PRINT)),
        ({"cnf": {"x5t#S256": PRINT, "other": 1}}, Confirmation(x5t=PRINT)),
        ({"cnf": {"jkt": PRINT, "x5t#S256": PRINT}}, Confirmation(PRINT, PRINT)),
        ({"cnf": {}}, None),
        ({"cnf": None}, None),
        ({"cnf": PRINT}, None),
        ({"cnf": {"kid": "one"}}, None),
        ({"cnf": {"jkt": None}}, None),
        ({"cnf": {"jkt": PRINT, "x5t#S256": None}}, None),
        ({"cnf": {"jkt": "short"}}, None),
        ({"cnf": {"jkt": "é" * 43}}, None),
    ],
    ids=str,
)
def test_a_binding_that_is_not_known_is_never_none(
    claims: dict[str, Any], found: Confirmation | None
) -> None:
    """Without `cnf` a token is bound to nothing; with one that cannot be checked it is refused."""
    assert found == read_confirmation(claims)
    assert bool(found) == (found is not None and found != UNBOUND)


@pytest.mark.requirement("P-04")
@pytest.mark.parametrize(
    ("told", "der"),
    [
        (DER, DER),
        (PEM, DER),
        (quote(PEM, safe=""), DER),
        (f":{BASE64}:", DER),
        (BASE64, DER),
        (f"{BASE64},{BASE64}", DER),
        (quote(BASE64, safe=""), DER),
        (b"", None),
        ("", None),
        ("not base64!", None),
        ("é", None),
        ("x" * 100_000, None),
    ],
    ids=lambda value: str(value)[:12],
)
def test_a_certificate_is_read_as_proxies_write_it(told: bytes | str, der: bytes | None) -> None:
    """RFC 9440, PEM and base64, URL-encoded or not; of a chain the first one."""
    assert der == read_certificate(told)
