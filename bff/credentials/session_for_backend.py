"""A session as one backend's calls carry it: with that backend's own token in place of the session's.

It holds no refresh token: nothing could rotate by it or write it down.
"""

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from bff.session.model import Found, OwnToken, Session

_ON_THE_WAY: Final = 1.0
"""Seconds before its end from which a token is too old to be sent; at most a tenth of its life."""


@dataclass(frozen=True, slots=True)
class OwnFound(Found):
    """A session with one backend's token in place of its own; `whole` is the session itself."""

    whole: Found


class OwnReady(NamedTuple):
    """A session whose next call to one backend needs nothing but that backend's token; see `Ready`."""

    token: bytes
    found: Found
    lines: bytes = b""

    @property
    def key(self) -> str:
        """The session's key."""
        return self.found.session.key

    @property
    def provider(self) -> str:
        """The name of the session's provider."""
        return self.found.session.provider

    @property
    def proof_key(self) -> bytes:
        """The text of the key that the token is bound to; empty for a bearer token."""
        return (self.found.session.tokens.proof_key or "").encode()


def shown(found: Found, token: OwnToken) -> OwnFound:
    """Returns a session with one backend's token in place of its own, and no other."""
    session = found.session
    tokens = replace(
        session.tokens,
        access_token=token.access_token,
        obtained_at=token.obtained_at,
        access_expires_at=token.expires_at,
        refresh_token=None,
        id_token=None,
        proof_key=session.tokens.proof_key if token.bound else token.proof_key,
    )
    return OwnFound(found.handle, replace(session, tokens=tokens, exchanged={}), found)


def last_moment(session: Session) -> float | None:
    """Returns the last moment to send the backend's token, in seconds since the epoch, if it has an end.

    An end at its beginning cannot be meant, as with a session's tokens: each call would get another token.
    """
    ends, begin = session.tokens.access_expires_at, session.tokens.obtained_at
    if ends is None or ends <= begin:
        return None
    return ends - min(_ON_THE_WAY, 0.1 * (ends - begin))
