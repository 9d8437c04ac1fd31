"""The session as the program sees it, once its record has been opened.

Times are seconds since the epoch (`float`), durations are seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from bff.errors import Problem

ID_LENGTH = 12
"""Characters of a session's key that name it in logs and answers."""

WITHHELD = ""
"""Stands in place of a refresh token that there is, in a session from the near cache."""


_new = object.__new__


class EndReason(StrEnum):
    """The reason why a session is over. The values are stored and shown, so they keep their meaning."""

    LOGOUT = "logout"  # the user signed out here
    OPERATOR = "operator"  # an operator ended it: `bff sessions end`
    PROVIDER_LOGOUT = "provider_logout"  # the provider told us, by the back channel, that they signed out
    SECURITY_SIGNAL = "security_signal"  # the provider told us, by Shared Signals, of a danger to the account
    SIGNED_OUT_ELSEWHERE = "signed_out_elsewhere"  # the user ended it from another session of theirs
    SIGNED_IN_AGAIN = "signed_in_again"  # a new sign-in in the same browser took its place
    SESSION_LIMIT = (
        "session_limit"  # the user has more sessions than `session.max_per_user`, this was the oldest
    )
    INVALID_GRANT = "invalid_grant"  # the provider no longer accepts the refresh token
    REFRESH_REFUSED = "refresh_refused"  # the provider refuses the refresh token again and again
    SIGN_IN_REQUIRED = "sign_in_required"  # the provider wants to see the user; the record may stand
    REFRESH_LOST = "refresh_lost"  # a process died between the provider's answer and the save
    IDENTITY_CHANGED = "identity_changed"  # a refreshed ID token named somebody else
    NOT_ALLOWED = "not_allowed"  # the claims of a refresh no longer satisfy `provider.allow`
    PROVIDER_REMOVED = "provider_removed"  # its provider is no longer configured for this frontend
    IDLE = "idle"  # not used for `session.idle_timeout`
    MAX_LIFETIME = "max_lifetime"  # its time was up, or its refresh token's, however busy it was
    EXPIRED = "expired"  # its token is over, and there is no refresh token
    TAMPERED = "tampered"  # the record in Redis does not open
    UNKNOWN = "unknown"  # gone without a word, as after `redis-cli DEL`


class Unproved(StrEnum):
    """The reason why a session does not open to a request, though it lives (`session.device_binding`)."""

    NOT_BOUND = "not_bound"  # it has to be bound, and is not: its browser has registered no key, or cannot
    NOT_PROVED = "not_proved"  # it is bound, and the request does not prove its device


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens that the provider issued; none of them ever leaves the server.

    `access_expires_at` is the earlier one of the answer's `expires_in` and of the token's own `exp`.
    """

    access_token: str
    obtained_at: float
    access_expires_at: float | None
    refresh_token: str | None = None
    refresh_expires_at: float | None = None
    id_token: str | None = None
    scope: str = ""
    refresh_end_moves: bool = True  # by a rotation, as far as is known
    proof_key: str | None = field(default=None, repr=False)  # that the access token is bound to (RFC 9449)


class _TokensInMaking(Tokens):
    """Tokens whose fields are being written: see `new_tokens`."""

    __slots__ = ()
    __setattr__ = object.__setattr__
    __delattr__ = object.__delattr__


def new_tokens(  # noqa: PLR0917 - as `new_session`
    access_token: str,
    obtained_at: float,
    access_expires_at: float | None,
    refresh_token: str | None,
    refresh_expires_at: float | None,
    id_token: str | None,
    scope: str,
    refresh_end_moves: bool,
    proof_key: str | None,
    /,
) -> Tokens:
    """Makes tokens as `Tokens(...)` does, for a sixth of the instructions: as `new_session`."""
    made: Any = _new(_TokensInMaking)
    made.access_token = access_token
    made.obtained_at = obtained_at
    made.access_expires_at = access_expires_at
    made.refresh_token = refresh_token
    made.refresh_expires_at = refresh_expires_at
    made.id_token = id_token
    made.scope = scope
    made.refresh_end_moves = refresh_end_moves
    made.proof_key = proof_key
    made.__class__ = Tokens
    tokens: Tokens = made
    return tokens


@dataclass(frozen=True, slots=True)
class OwnToken:
    """An access token for one backend alone.

    `bound`: to the session's key. `proof_key`: the key that it is bound to, where that is no session's.
    """

    access_token: str
    obtained_at: float
    expires_at: float | None
    bound: bool = False
    proof_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Refreshing:
    """The marker that a process leaves before it sends the refresh token.

    `lost`: it was sent, its answer never came, and the process that sent it has given up.
    """

    at: float
    by: str
    lost: bool = False


Fence = Literal["version", "all tokens"] | None
"""The part of a session that has to be as it was read: its `version`, or tokens for single backends too."""


@dataclass(frozen=True, slots=True)
class Session:
    """One signed-in browser. `version` counts token saves and is the fence of every update."""

    key: str
    version: int
    provider: str
    sub: str
    sid: str | None
    name: str
    created: float
    seen: float
    ends: float
    tokens: Tokens
    claims: Mapping[str, Any]
    rotations: int = 0
    refreshing: Refreshing | None = None
    user_agent: str = ""
    address: str = ""
    frontend: str = ""  # by its name, "" for the one without; its keys alone open the record
    exchanged: Mapping[str, OwnToken] = field(default_factory=dict)  # by audience; not for later tokens
    exchanged_seal: str = field(default="", repr=False, compare=False)  # these, as the record was read
    bound: bool = False  # to a device: its cookie alone is no proof

    @property
    def id(self) -> str:
        """The short name used in logs and answers; it opens nothing."""
        return self.key[:ID_LENGTH]

    @property
    def all_claims(self) -> Mapping[str, Any]:
        """The claims that are kept, and those that have fields of their own."""
        return all_claims(self)


class Opened(NamedTuple):
    """A session as its record was opened for a call: without the fields for people."""

    key: str
    version: int
    provider: str
    sub: str
    sid: str | None
    created: float
    seen: float
    ends: float
    tokens: Tokens
    claims: Mapping[str, Any]
    rotations: int
    refreshing: Refreshing | None
    exchanged: Mapping[str, OwnToken]
    bound: bool


CallSession = Session | Opened
"""A session as its calls ask for it."""


def all_claims(session: CallSession) -> Mapping[str, Any]:
    """Returns the claims that are kept, and those that have fields of their own."""
    return {**session.claims, "sub": session.sub, "sid": session.sid}


class _SessionInMaking(Session):
    """A session whose fields are being written: see `new_session`."""

    __slots__ = ()
    __setattr__ = object.__setattr__
    __delattr__ = object.__delattr__


def new_session(  # noqa: PLR0917 - to pass them by name costs more than all else here
    key: str,
    version: int,
    provider: str,
    sub: str,
    sid: str | None,
    name: str,
    created: float,
    seen: float,
    ends: float,
    tokens: Tokens,
    claims: Mapping[str, Any],
    rotations: int,
    refreshing: Refreshing | None,
    user_agent: str,
    address: str,
    frontend: str,
    exchanged: Mapping[str, OwnToken],
    exchanged_seal: str,
    bound: bool,
    /,
) -> Session:
    """Makes a session as `Session(...)` does, for an eighth of the instructions.

    A frozen dataclass writes each field by a call, and a call names each: too dear for what is made whenever
    a session is read that is not in memory. Here the fields are written before the object is frozen.
    """
    made: Any = _new(_SessionInMaking)
    made.key = key
    made.version = version
    made.provider = provider
    made.sub = sub
    made.sid = sid
    made.name = name
    made.created = created
    made.seen = seen
    made.ends = ends
    made.tokens = tokens
    made.claims = claims
    made.rotations = rotations
    made.refreshing = refreshing
    made.user_agent = user_agent
    made.address = address
    made.frontend = frontend
    made.exchanged = exchanged
    made.exchanged_seal = exchanged_seal
    made.bound = bound
    made.__class__ = Session
    session: Session = made
    return session


@dataclass(frozen=True, slots=True)
class Found:
    """A session and the handle that opened it. Keep the handle out of everything that is written."""

    handle: str
    session: Session


@dataclass(frozen=True, slots=True)
class NoSession:
    """An outcome: nobody is signed in, or the request does not show it.

    Attributes:
        reason: known where the session was ended by us within the last hour.
        key: the session's, where a handle of ours named one; for the log.
    """

    problem: Problem
    reason: EndReason | Unproved | None = None
    key: str | None = field(default=None, compare=False)
