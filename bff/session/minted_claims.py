"""The claims of a minted token (RFC 9068 2.2). Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bff.session.model import Session
from bff.settings.route_token_settings import OF_A_SIGN_IN


@dataclass(frozen=True, slots=True)
class Content:
    """The content of one route's tokens, the session aside. `lifetime` is in seconds.

    `client_ids` has our name at each provider, the default one first. `bound`: to the session's key, where
    it has one.
    """

    issuer: str
    audience: str
    client_ids: tuple[tuple[str, str], ...]
    claims: tuple[str, ...]
    lifetime: float
    bound: bool = False


def claims_of(
    content: Content, session: Session, now: float, jti: str, jkt: str | None = None
) -> dict[str, Any]:
    """Returns the claims of a session's token; those of the sign-in that are not known are left out.

    `sid` is the session's id, as logs have it. The token ends with the session at the latest. Two providers
    may call different people the same: see `_subject`. `jkt` is the thumbprint of the key that the token is
    bound to (RFC 9449 6.1).
    """
    known = session.all_claims
    chosen: Iterable[str] = (*content.claims, *OF_A_SIGN_IN)
    bound = {} if jkt is None else {"cnf": {"jkt": jkt}}
    return {
        **{name: known[name] for name in chosen if known.get(name) is not None},
        "iss": content.issuer,
        "aud": content.audience,
        "sub": _subject(session, [name for name, _ in content.client_ids]),
        "exp": max(math.floor(min(now + content.lifetime, session.ends)), math.floor(now) + 1),
        "iat": math.floor(now),
        "jti": jti,
        "client_id": dict(content.client_ids).get(session.provider, ""),
        "sid": session.id,
        **bound,
    }


def _subject(session: Session, providers: Sequence[str]) -> str:
    """The `sub`: with the provider's name in front, unless it is the default one's.

    Where there are several, a `sub` of the default one that begins with the name of any has its name too: no
    two people have the same.
    """
    bare = session.provider == providers[0] and (
        len(providers) == 1 or session.sub.partition(":")[0] not in providers or ":" not in session.sub
    )
    return session.sub if bare else f"{session.provider}:{session.sub}"
