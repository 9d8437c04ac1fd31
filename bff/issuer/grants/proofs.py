"""DPoP at the issuer (RFC 9449): the proofs of token requests, pushed requests and calls of userinfo.

Rule 1: a proof is checked when the client is known, and before a code or a refresh token is taken: a client
that has to repeat the request with a nonce has lost nothing.
Rule 2: a proof is good once, at this issuer and all that share its Redis.
"""

import time
from typing import Any

from authlib.oauth2.rfc6749 import InvalidRequestError, OAuth2Error

from bff.issuer.grants.clients import Client
from bff.issuer.store.used_proofs import UsedProofs
from bff.verify.claims import Refusal
from bff.verify.dpop import PROOF_ALGORITHMS as ALGORITHMS
from bff.verify.dpop import check_proof

__all__ = ["ALGORITHMS", "InvalidProofError", "ProofChecks", "ProvesKey", "UseNonceError"]


class InvalidProofError(OAuth2Error):  # type: ignore[misc] # authlib publishes no types
    """A proof that is not good (RFC 9449 5); the description is the stable word of the reason."""

    error = "invalid_dpop_proof"


class UseNonceError(OAuth2Error):  # type: ignore[misc] # authlib publishes no types
    """A proof without the nonce that its client has to repeat (RFC 9449 8)."""

    error = "use_dpop_nonce"
    description = "The proof must repeat the nonce of the DPoP-Nonce header field."

    def __init__(self, nonce: str) -> None:
        super().__init__()
        self.nonce = nonce

    def get_headers(self) -> list[tuple[str, str]]:
        """The header fields of the answer, with the nonce."""
        return [*super().get_headers(), ("DPoP-Nonce", self.nonce)]


class ProofChecks:
    """The check of proofs; calls block."""

    def __init__(self, used: UsedProofs) -> None:
        self._used = used

    def key_of(self, request: Any, client: Client, access_token: str | None = None) -> str:
        """Returns the thumbprint of the key that a request proves; "" where it has no proof.

        Raises:
            InvalidProofError: the proof is not good, or was used before.
            UseNonceError: it lacks the nonce, and the client's settings ask for one.
        """
        if not request.proofs:
            return ""
        if len(request.proofs) > 1:
            raise InvalidProofError(Refusal.PROOF_DOUBLED.reason)
        now = time.time()
        proof = check_proof(
            request.proofs[0], method=request.method, url=request.uri, now=now, access_token=access_token
        )
        if isinstance(proof, Refusal):
            raise InvalidProofError(proof.reason)
        if client.dpop_nonce:
            nonce = self._used.nonce(now)
            if not self._used.is_good(proof.nonce, now):
                raise UseNonceError(nonce)
            request.next_nonce = nonce if nonce != proof.nonce else None
        if not self._used.first_use(proof, now):
            raise InvalidProofError(Refusal.PROOF_REPLAYED.reason)
        return proof.jkt

    def key_of_token_request(self, request: Any, client: Client) -> str:
        """Returns the key that tokens are bound to; an error where the client must name one and does not."""
        jkt = self.key_of(request, client)
        if client.require_dpop and not jkt:
            raise InvalidRequestError("This client has to prove a key (DPoP).")
        return jkt


class ProvesKey:
    """Part of a grant: the client of a token request is authenticated, then the key that it proves."""

    jkt = ""
    server: Any
    request: Any

    def authenticate_token_endpoint_client(self) -> Client:
        """Returns the client, as authlib's grants ask for it."""
        client: Client = super().authenticate_token_endpoint_client()  # type: ignore[misc] # that of authlib's grants
        self.jkt = self.server.proofs.key_of_token_request(self.request, client)
        return client
