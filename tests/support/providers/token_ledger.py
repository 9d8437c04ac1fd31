"""The ledger of a provider with rotation: issued tokens and their uses, one family for each sign-in.

Rule 1: a refresh token is good once, and within `grace` once more or oftener; a use after that is taken for
theft and kills its family (RFC 9700 4.14.2).
Rule 2: every use is written down, one that comes to nothing too.
"""

import secrets
import time
from dataclasses import dataclass, field
from typing import Any, Literal

Fate = Literal["rotated", "repeated", "reuse", "dead", "unspent"]
"""What became of a refresh token that was sent: a first use; a second one within the grace; a second one that
killed its family; one of a family that was dead already; a call that came to nothing."""


@dataclass(slots=True)
class Family:
    """All that descends from one sign-in."""

    sub: str
    sid: str
    current: str = ""  # the newest refresh token
    alive: bool = True
    killed_by: Literal["", "reuse", "revocation"] = ""


@dataclass(slots=True)
class _Issued:
    family: Family
    spent_at: float | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """One call with a refresh token. `at` is in seconds of the monotonic clock."""

    token: str
    family: Family
    fate: Fate
    at: float


@dataclass
class TokenLedger:
    """The issued tokens and their uses.

    Attributes:
        grace: seconds within which a spent refresh token is taken once more; 0: never.
        expires_in: the lifetime of access tokens, in seconds.
        uses: every call with a refresh token, in order.
        most_at_once: how many token calls were under way at the same time.
    """

    grace: float = 0.0
    expires_in: int = 600
    families: list[Family] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)
    under_way: int = 0
    most_at_once: int = 0
    _issued: dict[str, _Issued] = field(default_factory=dict)
    _access: dict[str, Family] = field(default_factory=dict)

    @property
    def refreshes(self) -> int:
        """The number of uses of refresh tokens."""
        return len(self.uses)

    @property
    def reused(self) -> list[Use]:
        """The uses that were taken for theft."""
        return [use for use in self.uses if use.fate == "reuse"]

    def uses_of(self, family: Family) -> list[Use]:
        return [use for use in self.uses if use.family is family]

    def takes(self, refresh_token: str) -> bool:
        """Return True if the refresh token would be accepted."""
        issued = self._issued.get(refresh_token)
        return issued is not None and issued.family.alive and issued.spent_at is None

    def accepts(self, access_token: str) -> bool:
        """Return True if the access token is valid for a backend."""
        return access_token in self._access

    def forget_access(self) -> None:
        """No access token that was issued so far is good any more: backends answer 401."""
        self._access.clear()

    def begin(self, sub: str) -> tuple[Family, dict[str, Any]]:
        """A sign-in: its family, and the token answer without an ID token."""
        family = Family(sub, f"sid-{secrets.token_hex(8)}")
        self.families.append(family)
        return family, self._issue(family)

    def refresh(self, token: str, *, spends: bool, rotates: bool) -> tuple[Fate, dict[str, Any] | None]:
        """A call with a refresh token: what became of it, and the answer unless it is refused."""
        fate, answer = self._refresh(token, spends=spends, rotates=rotates)
        family = self._issued[token].family if token in self._issued else Family("nobody", "", alive=False)
        self.uses.append(Use(token, family, fate, time.monotonic()))
        return fate, answer

    def _refresh(self, token: str, *, spends: bool, rotates: bool) -> tuple[Fate, dict[str, Any] | None]:
        if not spends:
            return "unspent", None
        issued = self._issued.get(token)
        if issued is None or not issued.family.alive:
            return "dead", None
        if issued.spent_at is None:
            if rotates:
                issued.spent_at = time.monotonic()
            return "rotated", self._issue(issued.family, rotates=rotates)
        if time.monotonic() - issued.spent_at <= self.grace:
            return "repeated", self._issue(issued.family)
        self._kill(issued.family, "reuse")
        return "reuse", None

    def revoke(self, token: str) -> None:
        """RFC 7009: the whole family goes."""
        self.revoked.append(token)
        if token in self._issued:
            self._kill(self._issued[token].family, "revocation")

    def _kill(self, family: Family, cause: Literal["reuse", "revocation"]) -> None:
        if family.alive:
            family.alive, family.killed_by = False, cause

    def _issue(self, family: Family, *, rotates: bool = True) -> dict[str, Any]:
        access = f"access-{secrets.token_urlsafe(12)}"
        self._access[access] = family
        answer = {"access_token": access, "token_type": "Bearer", "expires_in": self.expires_in}
        if rotates:
            family.current = f"refresh-{secrets.token_urlsafe(12)}"
            self._issued[family.current] = _Issued(family)
            answer["refresh_token"] = family.current
        return answer
