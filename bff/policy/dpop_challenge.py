"""A server's word about a proof of possession (RFC 9449): the nonce that it gives, its refusal. Pure."""

import re
from collections.abc import Iterable

_NONCE = re.compile(rb"[\x21\x23-\x5b\x5d-\x7e]{1,512}")  # NQCHAR (RFC 6749 A), in 9449 8.1
_ERROR = re.compile(rb'\berror[ \t]*=[ \t]*"?(?:use_dpop_nonce|invalid_dpop_proof)\b')


def usable_nonce(value: bytes) -> str:
    """Returns the nonce of a `DPoP-Nonce` field; empty if it is none that can be repeated in a proof."""
    return value.decode("ascii") if _NONCE.fullmatch(value) else ""


def given_nonce(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Returns the nonce that an answer gives; empty if it gives none."""
    return next((usable_nonce(value) for name, value in headers if name == b"dpop-nonce"), "")


def refuses_proof(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Returns True if a 401 is about the proof, and not about the token (RFC 9449 7.1, 9)."""
    return any(name == b"www-authenticate" and _ERROR.search(value) is not None for name, value in headers)
