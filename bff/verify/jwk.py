"""JSON Web Keys as providers publish them: the public, meaningful part of one. Pure.

Rule 1: a member that is null, an empty text or an empty list says nothing, and counts as absent; the padding
of base64 is dropped. Nothing else is mended.
Rule 2: private and symmetric keys, and keys for other purposes than signatures, are refused with a reason,
which names no value of the key.
"""

from collections.abc import Mapping
from typing import Any

_PUBLIC = ("kty", "crv", "x", "y", "n", "e", "kid", "use", "alg")
_NUMBERS = ("x", "y", "n", "e")


def public_part(data: Any) -> dict[str, Any] | str:
    """Returns the members of a key that verifies signatures (RFC 7517 4), or the reason against it."""
    if not isinstance(data, Mapping):
        return "is no JSON object"
    said = {name: value for name, value in data.items() if value is not None and value not in ("", [])}
    # A private key is not even read: finding the primes of a large one takes seconds.
    if "d" in said or said.get("kty") == "oct":
        return "is private or symmetric"
    if said.get("use", "sig") != "sig":
        return "is for another use"
    operations = said.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return "is for other operations"
    part = {name: said[name] for name in _PUBLIC if name in said}
    for name in _NUMBERS:
        if isinstance(part.get(name), str):
            part[name] = part[name].rstrip("=")
    return part


def key_label(data: Any, number: int) -> str:
    """Returns the name of a key for logs: its place in the set, and its `kid` where that is fit to print."""
    kid = data.get("kid") if isinstance(data, Mapping) else None
    printable = isinstance(kid, str) and 0 < len(kid) <= 64 and kid.isascii() and kid.isprintable()  # noqa: PLR2004 - a name, not a text
    return f"key {number} ({kid})" if printable else f"key {number}"
