"""Sample sessions for tests."""

from dataclasses import replace
from typing import Any

from bff.session.model import WITHHELD, Session, Tokens

NOW = 1_800_000_000.0


def sample_tokens(**changes: Any) -> Tokens:
    """Tokens obtained at NOW that live for five minutes."""
    tokens = Tokens(
        access_token="access-1",
        obtained_at=NOW,
        access_expires_at=NOW + 300,
        refresh_token="refresh-1",
        id_token="id-token-1",
        scope="openid",
    )
    return replace(tokens, **changes)


def sample_session(**changes: Any) -> Session:
    """Alice's session, made at NOW, for an hour."""
    session = Session(
        key="0" * 64,
        version=1,
        provider="main",
        sub="alice",
        sid="sid-1",
        name="Alice",
        created=NOW,
        seen=NOW,
        ends=NOW + 3600,
        tokens=sample_tokens(),
        claims={"sub": "alice", "email": "alice@example.com"},
        user_agent="test",
        address="192.0.2.1",
    )
    return replace(session, **changes)


def needed(session: Session) -> Session:
    """The part of a session that the near cache keeps."""
    withheld = None if session.tokens.refresh_token is None else WITHHELD
    tokens = replace(session.tokens, refresh_token=withheld, id_token=None, scope="")
    return replace(session, tokens=tokens, claims={}, name="", user_agent="", address="", rotations=0)
