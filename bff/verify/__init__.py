"""What a backend service uses to check an access token."""

from bff.verify.claims import Claims, Refusal, TokenRefusedError
from bff.verify.middleware import BearerAuth
from bff.verify.verifier import TokenVerifier

__all__ = ["BearerAuth", "Claims", "Refusal", "TokenRefusedError", "TokenVerifier"]
