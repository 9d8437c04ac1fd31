"""The verifier: a backend service checks access tokens with it.

    verifier = TokenVerifier(
        issuer="https://id.example.com",
        audience="orders",
        revocations=[RedisRevocations("redis://127.0.0.1:6379/0")],
    )
    app = Starlette(routes=[…], middleware=[Middleware(BearerAuth, verifier=verifier)])

FastAPI has `bff.verify.fastapi.Bearer` for `Depends`, Django and Flask have `bearer_required` in modules of
their names; `BlockingVerifier` is for code without an event loop.

The same files are the distribution `bff-verify`, whose package is `bff_verify` (pyproject.toml beside this
file): they import nothing else of bff, and each other by relative names.
"""

from .blocking import BlockingVerifier
from .claims import PLAIN_JWT, RFC9068, Claims, Profile, Refusal, TokenRefusedError, bearer_token
from .middleware import BearerAuth
from .revocation import Introspection, OwnRevocations, RedisRevocations, Revocations
from .verifier import TokenVerifier

__all__ = [
    "PLAIN_JWT",
    "RFC9068",
    "BearerAuth",
    "BlockingVerifier",
    "Claims",
    "Introspection",
    "OwnRevocations",
    "Profile",
    "RedisRevocations",
    "Refusal",
    "Revocations",
    "TokenRefusedError",
    "TokenVerifier",
    "bearer_token",
]
