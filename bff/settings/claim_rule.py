"""The rule about a user's claims, as the settings write it. Pure.

A rule is a table, or a list of tables of which one has to hold. All lines of a table have to hold. A line
names a claim and its value: a text, a number or a truth value; a list, any of which will do; or a table with
`any`, `all` and `none`, lists each, and `ends_with`, the ends of texts. A claim that is a list itself is each
of its members.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, StrictBool, StrictInt, StrictStr

Scalar = StrictStr | StrictBool | StrictInt
_KINDS = ("any", "all", "none", "ends_with")
_MOST = 100  # tests of a rule, and values of one: a rule is read by people


class ClaimTest(NamedTuple):
    """One line: a claim, the values of which it must have one, all, and none, and the ends of which one."""

    claim: str
    any_of: tuple[Scalar, ...]
    all_of: tuple[Scalar, ...]
    none_of: tuple[Scalar, ...]
    ends: tuple[str, ...] = ()


Alternative = tuple[ClaimTest, ...]
"""Tests that all have to hold."""


def parse_rule(value: Any) -> Any:
    """Turns the table of a rule, or the list of its tables, into tests."""
    tables = value if isinstance(value, list | tuple) else [value]
    if tables and all(isinstance(table, tuple) for table in tables):
        return value  # parsed before
    if not tables or not all(isinstance(table, Mapping) and table for table in tables):
        raise ValueError('not a rule: write it like { groups = ["staff"], email_verified = true }')
    if sum(map(len, tables)) > _MOST:
        raise ValueError(f"a rule has at most {_MOST} lines")
    return tuple(tuple(_line(name, wanted) for name, wanted in table.items()) for table in tables)


def _line(name: str, wanted: Any) -> ClaimTest:
    if not name:
        raise ValueError("a line of a rule names no claim")
    if not isinstance(wanted, Mapping):
        return ClaimTest(name, _values(name, wanted), (), ())
    if not wanted or (unknown := sorted(set(wanted) - set(_KINDS))):
        told = f"it has {', '.join(unknown)}" if wanted else "it is empty"
        raise ValueError(f'the table of "{name}" takes any, all, none and ends_with: {told}')
    any_of, all_of, none_of, ends = (_values(name, wanted[kind]) if kind in wanted else () for kind in _KINDS)
    return ClaimTest(name, any_of, all_of, none_of, tuple(_end(name, value) for value in ends))


def _end(name: str, value: Scalar) -> str:
    """Returns an end of a text. It has a border, so that "@example.com" does not let "@notexample.com" in."""
    if not isinstance(value, str) or not value.isascii() or value[0] not in "@." or len(value) == 1:
        raise ValueError(f'ends_with of "{name}" takes ASCII texts that begin with "@" or "."')
    return value.lower()


def _values(name: str, wanted: Any) -> tuple[Scalar, ...]:
    values = tuple(wanted) if isinstance(wanted, list | tuple) else (wanted,)
    if not values or len(values) > _MOST:
        raise ValueError(f'"{name}" needs 1 to {_MOST} values')
    if any(not isinstance(value, str | bool | int) or value == "" for value in values):
        raise ValueError(f'"{name}" takes texts, whole numbers, true and false')
    return values


def names_of(rule: "ClaimRule | None") -> Iterator[str]:
    """Yields the claims that a rule asks for."""
    for tests in rule or ():
        for test in tests:
            yield test.claim


ClaimRule = Annotated[tuple[Alternative, ...], BeforeValidator(parse_rule)]
"""Alternatives, of which one has to hold."""
