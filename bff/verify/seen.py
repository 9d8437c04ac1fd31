"""Tokens that were found good: their claims, and the key that verified them.

Rule 1: an entry ends with its token, and counts only while its key is one of the issuer's.
Rule 2: bounded in number; the entry that was not used for longest goes first.
Rule 3: a token is found by all of it: one that differs in a character is another token.
"""

from collections import OrderedDict
from typing import NamedTuple

from joserfc.jwk import Key

from .claims import Claims


class Seen(NamedTuple):
    """A good token: its claims, the key that verified it, and when it ends (seconds since 1970)."""

    claims: Claims
    kid: str | None
    key: Key
    ends: float


class SeenTokens:
    """A memory of at most `size` tokens; 0 keeps none."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._by_token: OrderedDict[str, Seen] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_token)

    def get(self, token: str, now: float) -> Seen | None:
        """The entry of a token that has not ended."""
        seen = self._by_token.get(token)
        if seen is None:
            return None
        if now >= seen.ends:
            del self._by_token[token]
            return None
        self._by_token.move_to_end(token)
        return seen

    def keep(self, token: str, seen: Seen) -> None:
        """Remembers a token."""
        if self._size:
            self._by_token[token] = seen
            if len(self._by_token) > self._size:
                self._by_token.popitem(last=False)

    def forget(self, token: str) -> None:
        """Forgets a token."""
        self._by_token.pop(token, None)
