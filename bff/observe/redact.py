"""The last wall before a log line: text with the form of a secret is masked.

Nothing should reach it: no part of this program logs tokens, cookies or codes. It stands for what a
library, an exception's text or a careless line may bring along. It works on names (a key that is known to
hold a secret) and on shapes (a value that looks like one).

Pure: no I/O, no clock, no logging.
"""

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any

from bff.errors import Problem

MASK = "[redacted]"

MAX_DEPTH = 8
"""The depth to which nested values are followed; deeper ones are masked whole (it may be a cycle)."""

_SECRET_NAMES = frozenset(
    {
        "assertion",
        "authorization",
        "client_assertion",
        "client_secret",
        "code",
        "code_verifier",
        "cookie",
        "handle",
        "id_token_hint",
        "password",
        "proxy_authorization",
        "secret",
        "set_cookie",
        "token",
    }
)

_PROBLEM_CODES = frozenset(problem.code for problem in Problem)

_NAMES = "[A-Za-z0-9_-]*_token|client_secret|code_verifier|client_assertion|assertion|password|id_token_hint"
_FIELDS = "authorization|proxy-authorization|cookie|set-cookie"

# Each pattern keeps its group `keep` and masks the rest of what it matches. It is only tried on a text that
# holds one of the characters beside it: most of what is logged is a plain word, and each request is logged.
_SHAPES = tuple(
    (needs, re.compile(pattern, re.IGNORECASE if folded else 0))
    for needs, pattern, folded in (
        # A JWS or JWE in compact form, cut short or not: base64url of `{"`, `{ ` or `{` and a line break.
        (".", r"(?P<keep>)(?:eyJ|eyA|ewo|ewk|ew0)[A-Za-z0-9_-]{13,}(?:\.[A-Za-z0-9_-]*){1,4}", False),
        # The session cookie's value.
        (".", r"(?P<keep>)[A-Za-z0-9_-]{43}\.[A-Za-z0-9_-]{43}", False),
        # Credentials with their scheme.
        (" \t", r"(?P<keep>\b(?:Bearer|Basic|DPoP)\s+)[A-Za-z0-9._~+/=-]{8,}", True),
        # user:password@ in a URL.
        ("@", r"(?P<keep>://)[^/@\s'\"]+(?=@)", False),
        # A header line, to its end.
        (":", rf"(?P<keep>(?:^|[\s,;{{])(?:{_FIELDS})\s*:\s*)[^\r\n]+", True),
        # {"cookie": "…"}, ('cookie', '…'), (b'cookie', b'…'), and the same with names of secrets.
        (
            "'\"",
            rf"(?P<keep>['\"](?:{_FIELDS}|{_NAMES}|code)['\"]\s*[:,]\s*b?)(?:'[^']*'?|\"[^\"]*\"?)",
            True,
        ),
        # name=value, as in a query or a form; `code` only where it is a query's, since it is a common word.
        ("=", rf"(?P<keep>(?:\b(?:{_NAMES})|[?&](?:amp;)?code)=)[^&\s'\"<>,;]+", True),
    )
)
_MASKED = rf"\g<keep>{MASK}"

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
}
# Line breaks; marks and overrides of the direction of text, which show a line in another order than it has;
# and half a character, which no output can encode.
_CONTROLS |= {
    code: f"\\u{code:04x}"
    for code in (
        0x061C,
        0x200E,
        0x200F,
        *range(0x2028, 0x202F),
        *range(0x2066, 0x206A),
        *range(0xD800, 0xE000),
    )
}


def redact_text(text: str) -> str:
    """The text with everything masked that has the shape of a secret."""
    if text.isalnum():
        return text
    for needs, shape in _SHAPES:
        if any(need in text for need in needs):
            text = shape.sub(_MASKED, text)
    return text


def one_line(text: str) -> str:
    """The text with line breaks and all that controls a terminal escaped: an event cannot forge another."""
    return text if text.isprintable() else text.translate(_CONTROLS)


def names_secret(key: object) -> bool:
    """Return True if a key, header or parameter of this name holds a secret."""
    if isinstance(key, bytes):
        key = key.decode("latin-1")
    return isinstance(key, str) and _names_secret(key)


@lru_cache(maxsize=1024)
def _names_secret(key: str) -> bool:
    name = key.lower().replace("-", "_")
    return name in _SECRET_NAMES or name.endswith("_token")


def redact(value: Any, depth: int = 0) -> Any:
    """A copy of the value that JSON can hold, with secrets masked at any depth.

    A pair whose first item names a secret counts as a key and its value: that is how header lists look.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return redact_text(bytes(value).decode("utf-8", "backslashreplace"))
    if isinstance(value, Mapping | Sequence | AbstractSet):
        return MASK if depth >= MAX_DEPTH else _collection(value, depth + 1)
    return redact_text(repr(value))


def _collection(value: Mapping[Any, Any] | Sequence[Any] | AbstractSet[Any], depth: int) -> Any:
    if isinstance(value, Mapping):
        return {_key(key): _item(key, item, depth) for key, item in value.items()}
    if isinstance(value, AbstractSet):
        return sorted((redact(item, depth) for item in value), key=str)
    if len(value) == 2 and names_secret(value[0]):  # noqa: PLR2004 - a pair
        return [_key(value[0]), MASK]
    return [redact(item, depth) for item in value]


def _key(key: object) -> str:
    return _key_text(key.decode("latin-1") if isinstance(key, bytes) else str(key))


_key_text = lru_cache(maxsize=1024)(redact_text)


def _item(key: object, value: Any, depth: int) -> Any:
    if key == "code" and isinstance(value, str) and value in _PROBLEM_CODES:
        return value  # which problem it was is what an operator looks for, and no secret
    if names_secret(key) and value is not None and not isinstance(value, bool):
        return MASK
    return redact(value, depth)
