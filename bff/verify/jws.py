"""Signed JWTs in compact form (RFC 7515): the parts and the signature of one, read with suspicion. Pure.

Rule 1: nothing raises: what cannot be read is None, what is not signed by the key is False.
Rule 2: a signature is checked by the one algorithm that was judged before, and by the one key that is given.
"""

import json
import math
import warnings
from functools import cache
from typing import Any

from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import Key
from joserfc.jws import CompactSignature, JWSRegistry, extract_compact, validate_compact

MAX_TOKEN = 8 * 1024  # characters; more than that is neither an access token nor a proof


def read_parts(token: str) -> tuple[CompactSignature, dict[str, Any]] | None:
    """Returns a token taken apart, and its header; None for what is no token."""
    if len(token) > MAX_TOKEN or not token.isascii():
        return None
    try:
        parts = extract_compact(token.encode(), registry=registry("ES256"))  # only reads: nothing is verified
        header: Any = parts.headers()
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return (parts, header) if isinstance(header, dict) else None


def is_signed(parts: CompactSignature, key: Key, algorithm: str) -> bool:
    """Returns True if the key has signed it by this algorithm."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # "EdDSA": as a name only (RFC 9864)
            return validate_compact(parts, key, registry=registry(algorithm))
    except (JoseError, ValueError, TypeError, AttributeError):
        return False  # a bad signature, or a key of another type, curve or purpose


def read_payload(parts: CompactSignature) -> dict[str, Any] | None:
    """Returns the claims; None for what is no JSON object, or holds a number that is none."""
    try:
        payload: Any = json.loads(parts.payload or b"", parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError):
        return None
    return payload if isinstance(payload, dict) else None


@cache
def registry(algorithm: str) -> JWSRegistry:
    """Returns joserfc's rules for one algorithm, with bounds for what is read."""
    rules = JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    rules.max_header_length = MAX_TOKEN
    rules.max_payload_length = MAX_TOKEN
    return rules


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("not a number")
    return value
