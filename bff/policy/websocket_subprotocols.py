"""The filter of a client's WebSocket subprotocols before its backend (RFC 6455, 11.3.4).

Browsers cannot set headers on a WebSocket, so that some clients carry a token among the subprotocols. Behind
the proxy the token is the session's; the client's own need not reach the backend.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_MOST = 32


def well_formed(offered: Sequence[str]) -> bool:
    """Returns True if the list can be passed on: tokens, each once, not too many; the head bounds them."""
    return (
        len(offered) <= _MOST
        and len(set(offered)) == len(offered)
        and all(_TOKEN.fullmatch(name) for name in offered)
    )


def kept(offered: Sequence[str], dropped: tuple[str, ...]) -> list[str]:
    """Returns the list without those that a pattern names.

    A pattern ends with `*` for any continuation; one with commas (`bearer, *`) names as many that follow each
    other, as where a name announces the token behind it.
    """
    left: list[str] = []
    at = 0
    while at < len(offered):
        length = next((len(names) for names in _compiled(dropped) if _stands_at(names, offered, at)), 0)
        if not length:
            left.append(offered[at])
        at += length or 1
    return left


def _stands_at(names: Sequence[re.Pattern[str]], offered: Sequence[str], at: int) -> bool:
    there = offered[at : at + len(names)]
    return len(there) == len(names) and all(map(re.Pattern.fullmatch, names, there))


@lru_cache(maxsize=256)
def _compiled(dropped: tuple[str, ...]) -> tuple[tuple[re.Pattern[str], ...], ...]:
    return tuple(tuple(_glob(name.strip()) for name in pattern.split(",")) for pattern in dropped)


def _glob(name: str) -> re.Pattern[str]:
    open_end = name.endswith("*")
    return re.compile(re.escape(name.removesuffix("*")) + (".*" if open_end else ""))
