"""The builder of a session's next write: its first version, or the one with newer tokens.

Pure but for the nonces of the sealing: the caller brings the time, and writes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bff.crypto import Keyring, session_key
from bff.policy.claim_rules import kept_claims
from bff.policy.public_claims import public_claims
from bff.policy.route_access import NO_ACCESS, AccessPlan
from bff.session.lifetime import session_end
from bff.session.model import Session, Tokens
from bff.session.record import RAW_FORMAT, encode_record, rounded
from bff.settings.model import SessionSettings

_OF_THE_SIGN_IN = ("acr", "auth_time")
"""Claims that are always kept: a backend may demand a stronger or fresher sign-in."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of a user, as the provider's ID token tells it."""

    provider: str
    sub: str
    sid: str | None
    name: str
    claims: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PreparedSave:
    """A write that may be repeated until its outcome is known: it carries its own id."""

    session: Session
    record: Mapping[str, str]
    expected_version: int
    left_sid: str | None = None  # the provider's name of the sign-in until now, if that changes


class SessionBuilder:
    """Builds sessions as they are to be written.

    Of an identity's claims those stay that a page is `shown`, or that routes ask for.
    """

    def __init__(
        self,
        keyring: Keyring,
        settings: SessionSettings,
        shown: tuple[str, ...] | None,
        plan: AccessPlan = NO_ACCESS,
        frontend: str = "",
    ) -> None:
        self._frontend = frontend
        self._keyring = keyring
        self._settings = settings
        self._shown = shown
        self._plan = plan

    def first(
        self,
        handle: str,
        identity: Identity,
        tokens: Tokens,
        now: float,
        *,
        user_agent: str,
        address: str,
        since: float | None = None,
    ) -> PreparedSave:
        """A new session under a new handle; `since` is the beginning of the one that it goes on with."""
        created = now if since is None else min(since, now)
        session = rounded(
            Session(
                key=session_key(handle),
                version=1,
                provider=identity.provider,
                sub=identity.sub,
                sid=identity.sid,
                name=identity.name,
                created=created,
                seen=now,
                ends=session_end(now, created, tokens, self._settings),
                tokens=tokens,
                claims=self._kept(identity.claims),
                user_agent=user_agent,
                address=address,
                frontend=self._frontend,
            )
        )
        return PreparedSave(session, self._record(session, handle), expected_version=0)

    def next(
        self, former: Session, handle: str, tokens: Tokens, now: float, *, claims: Mapping[str, Any] | None
    ) -> PreparedSave:
        """The version with newer tokens; `claims` None: they stay as they are."""
        sid = (claims or {}).get("sid")
        session = rounded(
            replace(
                former,
                version=former.version + 1,
                tokens=tokens,
                # A refreshed ID token may hold few claims: the others stay.
                claims=former.claims if claims is None else self._kept(_updated(former.claims, claims)),
                sid=sid if isinstance(sid, str) and sid else former.sid,
                ends=session_end(now, former.created, tokens, self._settings),
                rotations=former.rotations + 1,
                refreshing=None,
                exchanged={},
            )
        )
        record = self._record(session, handle)
        record["exchanged"] = ""
        left = former.sid if former.sid != session.sid else None
        return PreparedSave(session, record, expected_version=former.version, left_sid=left)

    def _kept(self, claims: Mapping[str, Any]) -> dict[str, Any]:
        return {
            **public_claims(claims, self._shown),
            **self._plan.kept(claims),
            **kept_claims(claims, _OF_THE_SIGN_IN),
        }

    def _record(self, session: Session, handle: str) -> dict[str, str]:
        readable, raw = self._settings.readable_claims, self._settings.record_format == RAW_FORMAT
        return encode_record(session, handle, self._keyring, readable, raw=raw)


def _updated(former: Mapping[str, Any], claims: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the claims with newer ones in place; one that is null now is gone."""
    return {name: value for name, value in {**former, **claims}.items() if value is not None}
