"""The credentials of calls: with which token a call goes out, or why it does not."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from bff.errors import Problem
from bff.policy.fields import Header
from bff.policy.step_up import Demand
from bff.session.model import Found, OwnToken, Session
from bff.session.rotation_policy import PassOn

Mode = Literal["any", "invalid_token", "never"]
"""The setting `refresh_on_401`."""


class Signed(NamedTuple):
    """A credential: the call goes out with this session's access token."""

    found: Found


@dataclass(frozen=True, slots=True)
class Anonymous:
    """A credential: the call goes out without a token."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal: the call does not go out. `session` is the key of the one that came, for the log.

    `demand` is what the sign-in has to be, with STEP_UP_REQUIRED. `headers` go with the answer.
    """

    problem: Problem
    reason: str | None = None
    retry_after: float | None = None
    session: str | None = None
    demand: Demand | None = None
    headers: tuple[Header, ...] = ()

    def parts(self) -> dict[str, Any]:
        """Returns the parts of the problem that the client is told."""
        return {
            "headers": self.headers,
            "reason": self.reason,
            "retry_after": self.retry_after,
            "demand": self.demand,
        }


@dataclass(frozen=True, slots=True)
class TokenOnly(Anonymous):
    """A credential: the call goes out without a session, and with this token.

    `own`: the token as we have it, where we can have another one. `claims`: those of a client's own token,
    which is taken until `ends` (seconds since the epoch).
    """

    token: str = field(repr=False)
    own: OwnToken | None = field(default=None, repr=False)
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)
    ends: float = math.inf

    @property
    def subject(self) -> str | None:
        """The user of a client's own token."""
        return self.claims.get("sub")

    @property
    def holder(self) -> str | None:
        """The name by which limits count that user's calls; no session has such a key."""
        if self.subject is None:
            return None
        user = json.dumps([self.claims.get("iss"), self.subject])  # ASCII, whatever an issuer signs
        return f"bearer {hashlib.sha256(user.encode()).hexdigest()[:32]}"


class Ready(Protocol):
    """A session whose next call needs nothing but its token."""

    @property
    def token(self) -> bytes:
        """The access token that goes with the call."""

    @property
    def proof_key(self) -> bytes:
        """The text of the key that the token is bound to; empty for a bearer token."""

    @property
    def lines(self) -> bytes:
        """The header lines of the route, where it has some of its own."""

    @property
    def key(self) -> str:
        """The session's key."""

    @property
    def provider(self) -> str:
        """The name of the session's provider."""

    @property
    def found(self) -> Found:
        """The session."""


class Unsigned(Protocol):
    """The source of such credentials, for one route."""

    async def unsigned(self) -> TokenOnly | Refused:
        """Returns the credential of a new call."""

    def unsigned_over(self, credential: TokenOnly) -> bool:
        """Returns True if the token ended during a wait: then ask anew."""

    async def renew_unsigned(
        self, sent: TokenOnly, *, invalid_token: bool, mode: Mode
    ) -> TokenOnly | PassOn | Refused:
        """Decides after a backend's 401: repeat with another token, pass it on, or refuse."""


def proof_key_of(credential: Signed | Anonymous) -> str | None:
    """Returns the text of the key that a call's token is bound to; None for a bearer token, and for none."""
    if isinstance(credential, Signed):
        return credential.found.session.tokens.proof_key
    own = credential.own if isinstance(credential, TokenOnly) else None
    return None if own is None else own.proof_key


def session_of(credential: Signed | Anonymous) -> Session | None:
    """Returns the session of a call; None for a call without one."""
    return credential.found.session if isinstance(credential, Signed) else None


def holder_of(credential: Signed | Anonymous) -> str | None:
    """Returns the name by which limits count a call: its session's key, or its user; None for neither."""
    if isinstance(credential, Signed):
        return credential.found.session.key
    return credential.holder if isinstance(credential, TokenOnly) else None


def says_invalid_token(headers: Sequence[Header]) -> bool:
    """Returns true if a backend's 401 says that the token is invalid (RFC 6750, 3.1)."""
    return any(name == b"www-authenticate" and b"invalid_token" in value for name, value in headers)


def without(credential: Signed | Refused, *, required: bool) -> Signed | Anonymous | Refused:
    """Returns the credential; `Anonymous` in place of a session that is over and not required."""
    if isinstance(credential, Signed) or required:
        return credential
    over = credential.problem.status == 401  # noqa: PLR2004 - the status that means "sign in again"
    return Anonymous() if over else credential
