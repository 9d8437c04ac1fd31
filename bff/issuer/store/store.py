"""All that the issuer keeps in Redis, beside its accounts; see `redis.py` for the keys."""

from dataclasses import dataclass
from typing import Self

from bff.issuer.endpoints.pushed import PushedRequests
from bff.issuer.logout.logout_queue import LogoutQueue
from bff.issuer.store.codes import Codes
from bff.issuer.store.issued_tokens import IssuedTokens
from bff.issuer.store.redis import IssuerRedis
from bff.issuer.store.refresh_families import RefreshFamilies
from bff.issuer.store.revoked_tokens import RevokedTokens
from bff.issuer.store.sign_in_sessions import SignInSessions
from bff.issuer.store.used_proofs import UsedProofs


@dataclass(frozen=True, slots=True)
class Store:
    """The parts of the store, each for one kind of thing; synchronous, and shared between threads."""

    redis: IssuerRedis
    sign_in_sessions: SignInSessions
    codes: Codes
    refresh_families: RefreshFamilies
    pushed: PushedRequests
    revoked_tokens: RevokedTokens
    issued: IssuedTokens
    logout_queue: LogoutQueue
    used_proofs: UsedProofs

    @classmethod
    def on(cls, redis: IssuerRedis) -> Self:
        """Builds the parts on one connection."""
        logout_queue, revoked_tokens = LogoutQueue(redis), RevokedTokens(redis)
        return cls(
            redis,
            SignInSessions(redis, logout_queue),
            Codes(redis),
            RefreshFamilies(redis),
            PushedRequests(redis),
            revoked_tokens,
            IssuedTokens(redis, revoked_tokens),
            logout_queue,
            UsedProofs(redis),
        )
