"""The verifier: a backend service checks access tokens with it.

    verifier = TokenVerifier(
        issuer="https://id.example.com",
        audience="orders",
        revocations=[RedisRevocations("redis://127.0.0.1:6379/0")],
    )
    app = Starlette(routes=[…], middleware=[Middleware(BearerAuth, verifier=verifier)])

FastAPI takes it by `app.add_middleware(BearerAuth, verifier=verifier)`. A handler finds who asks in
`request.scope["claims"]`.
"""

from bff.verify.claims import PLAIN_JWT, RFC9068, Claims, Profile, Refusal, TokenRefusedError
from bff.verify.middleware import BearerAuth
from bff.verify.revocation import Introspection, OwnRevocations, RedisRevocations, Revocations
from bff.verify.verifier import TokenVerifier

__all__ = [
    "PLAIN_JWT",
    "RFC9068",
    "BearerAuth",
    "Claims",
    "Introspection",
    "OwnRevocations",
    "Profile",
    "RedisRevocations",
    "Refusal",
    "Revocations",
    "TokenRefusedError",
    "TokenVerifier",
]
