"""The binding of an access token to a key or certificate (`cnf`, RFC 7800), and certificates as sent. Pure.

Rule 1: a binding that cannot be checked here is never taken for none.
Rule 2: a certificate is compared by its SHA-256 (`x5t#S256`, RFC 8705 3.1), never read.
"""

import binascii
import re
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import unquote

_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}")  # a SHA-256 in base64url
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
MAX_CERTIFICATE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The binding of a token: to the key of a thumbprint (RFC 9449), a certificate, both, or nothing."""

    jkt: str | None = None
    x5t: str | None = None

    def __bool__(self) -> bool:
        return self.jkt is not None or self.x5t is not None


UNBOUND = Confirmation()


def read_confirmation(claims: Mapping[str, Any]) -> Confirmation | None:
    """Returns the binding of a token, an empty one where it has none; None for one not known here."""
    if "cnf" not in claims:
        return UNBOUND
    said = claims["cnf"]
    if not isinstance(said, Mapping) or not {"jkt", "x5t#S256"} & said.keys():
        return None
    jkt, x5t = said.get("jkt"), said.get("x5t#S256")
    if not all(_is_thumbprint(said[name]) for name in ("jkt", "x5t#S256") if name in said):
        return None
    return Confirmation(jkt, x5t)


def thumbprint_of(data: bytes) -> str:
    """Returns the SHA-256 of something, in base64url: `ath`, or `x5t#S256` of a certificate in DER."""
    return urlsafe_b64encode(sha256(data).digest()).rstrip(b"=").decode()


def read_certificate(value: bytes | str) -> bytes | None:
    """Returns a certificate in DER, from DER, PEM, or the header field of a proxy; None if it is none.

    In a field it stands as RFC 9440 writes it (`:base64:`), as PEM, or as bare base64; URL-encoded or not. Of
    several, with commas between, the first is the client's.
    """
    if isinstance(value, bytes):
        return value or None
    if len(value) > MAX_CERTIFICATE:
        return None
    text = unquote(value).strip()
    found = _PEM.search(text)
    body = (
        found[1] if found is not None else text.partition(",")[0].strip().removeprefix(":").removesuffix(":")
    )
    try:
        return b64decode("".join(body.split()), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def _is_thumbprint(value: Any) -> bool:
    return isinstance(value, str) and _THUMBPRINT.fullmatch(value) is not None
