"""Decisions by a user's claims: a rule about them, and headers made of them. Pure.

Rule 1: a claim that is missing, null or of another type satisfies no test, a `none` neither: what is not
known lets nobody in.
Rule 2: values are compared exactly: by type, by case, and never by a part of a text. `ends_with` alone
compares the end of an ASCII text, from a border on ("@", "."), without case, as domains are compared.
Rule 3: a header's value is printable ASCII, and can be read back in one way: `%` and all else are
percent-encoded as UTF-8 (RFC 3986 2.1), and so is a comma within a member of a list.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from bff.settings.claim_rule import ClaimRule, ClaimTest, Scalar

MOST_BYTES = 4096
"""The longest value of a header in bytes; a longer one is left out, for servers refuse such heads."""

_PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
_PLAIN = _PRINTABLE.replace("%", "")
_MEMBER = _PLAIN.replace(",", "")


def claim_at(claims: Mapping[str, Any], name: str) -> Any:
    """Returns the claim of this name; else the member that its dots lead to; None if there is none."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(part)
    return found


def kept_claims(claims: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Returns the claims that `claim_at` needs for these names."""
    tops = {name if name in claims else name.partition(".")[0] for name in names}
    return {name: claims[name] for name in sorted(tops) if name in claims}


def holds(rule: ClaimRule, claims: Mapping[str, Any]) -> bool:
    """Returns True if one alternative of a rule holds, that is all of its tests."""
    return any(all(_passes(test, claim_at(claims, test.claim)) for test in tests) for tests in rule)


def is_refuted(rule: ClaimRule, claims: Mapping[str, Any]) -> bool:
    """Returns True if no alternative of a rule can hold, whatever the claims may be that are not known.

    A claim that is null is known, one that is not there is not: a refresh need not repeat them all.
    """
    return not any(all(_may_pass(test, claims) for test in tests) for tests in rule)


def _may_pass(test: ClaimTest, claims: Mapping[str, Any]) -> bool:
    known = test.claim in claims or test.claim.partition(".")[0] in claims
    return not known or _passes(test, claim_at(claims, test.claim))


def _passes(test: ClaimTest, value: Any) -> bool:
    members = value if isinstance(value, list | tuple) else () if value is None else (value,)
    if value is None or any(isinstance(member, Mapping) for member in members):
        return False
    if test.none_of and not {type(member) for member in members} <= {type(one) for one in test.none_of}:
        return False  # of another type: Rule 1
    return (
        (not test.any_of or any(_has(members, wanted) for wanted in test.any_of))
        and all(_has(members, wanted) for wanted in test.all_of)
        and not any(_has(members, wanted) for wanted in test.none_of)
        and (not test.ends or any(_ends(member, test.ends) for member in members))
    )


def _has(members: Iterable[Any], wanted: Scalar) -> bool:
    return any(type(member) is type(wanted) and member == wanted for member in members)  # True == 1


def _ends(member: Any, ends: tuple[str, ...]) -> bool:
    return isinstance(member, str) and member.isascii() and member.lower().endswith(ends)


def header_value(value: Any) -> bytes | None:
    """Returns a claim as a header's value; None for one that has none: empty, too long, or a structure."""
    if isinstance(value, list | tuple):
        texts = [_text(member, _MEMBER) for member in value]
        text = None if None in texts else ",".join(filter(None, texts))
    else:
        text = _text(value, _PLAIN)
    return text.encode("ascii") if text and len(text) <= MOST_BYTES else None


def _text(value: Any, safe: str) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        return None
    text = quote(value, safe=safe, errors="replace")
    inner = text.strip(" ")
    before, after = len(text) - len(text.lstrip(" ")), len(text) - len(text.rstrip(" "))
    return "%20" * before + inner + "%20" * (after if inner else 0)
