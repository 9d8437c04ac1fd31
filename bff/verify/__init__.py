"""The verifier: a backend service checks access tokens with it.

    verifier = TokenVerifier(
        issuer="https://id.example.com",
        audience="orders",
        revocations=[RedisRevocations("redis://127.0.0.1:6379/0")],
    )
    app = Starlette(routes=[…], middleware=[Middleware(BearerAuth, verifier=verifier)])

FastAPI has `bff.verify.fastapi.Bearer` for `Depends`, Django and Flask have `bearer_required` in modules of
their names; `BlockingVerifier` is for code without an event loop. All of them take tokens that are bound to a
key (DPoP, RFC 9449) or a client certificate (RFC 8705) only with the proof of it.

The same files are the distribution `bff-verify`, whose package is `bff_verify` (pyproject.toml beside this
file): they import nothing else of bff, and each other by relative names.
"""

from .binding import Dpop
from .blocking import BlockingVerifier
from .claims import PLAIN_JWT, RFC9068, Claims, Profile, Refusal, TokenRefusedError, bearer_token
from .confirmation import Confirmation
from .middleware import BearerAuth
from .nonces import Nonces
from .replays import ProofMemory, RedisProofs, UsedProofs
from .request_parts import RequestParts
from .revocation import Introspection, OwnRevocations, RedisRevocations, Revocations
from .verifier import TokenVerifier

__all__ = [
    "PLAIN_JWT",
    "RFC9068",
    "BearerAuth",
    "BlockingVerifier",
    "Claims",
    "Confirmation",
    "Dpop",
    "Introspection",
    "Nonces",
    "OwnRevocations",
    "Profile",
    "ProofMemory",
    "RedisProofs",
    "RedisRevocations",
    "Refusal",
    "RequestParts",
    "Revocations",
    "TokenRefusedError",
    "TokenVerifier",
    "UsedProofs",
    "bearer_token",
]
