"""The header fields by which a backend learns who calls: a token with its proof, and claims.

Rule 1: the fast path's lines say what the fields of any other call say; a test holds the two together.
Rule 2: a session is unpacked only for a route that sends claims.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bff.credentials.backend_proofs import BackendProofs
from bff.credentials.credential import Anonymous, Ready, Signed, TokenOnly, proof_key_of
from bff.policy.fields import Header
from bff.policy.header_rules import HeaderRules
from bff.policy.route_access import claim_headers


@dataclass(frozen=True, slots=True)
class IdentityFields:
    """The identity fields of one route's calls. `proofs` go with tokens that are bound to a session's key."""

    rules: HeaderRules
    proofs: BackendProofs | None = None

    def of(self, credential: Signed | Anonymous, method: bytes, target: bytes) -> list[Header]:
        """Returns the fields of a call with this credential."""
        claims: Mapping[str, Any] = {}
        if isinstance(credential, Signed):
            session = credential.found.session
            token = session.tokens.access_token
            claims = session.all_claims if self.rules.claims else claims
        elif isinstance(credential, TokenOnly):
            token, claims = credential.token, credential.claims
        else:
            return []
        key = None if self.proofs is None else proof_key_of(credential)
        fields = self._of_token(token.encode(), (key or "").encode(), method, target)
        return fields + claim_headers(self.rules.claims, claims) if self.rules.claims else fields

    def of_ready(self, ready: Ready, method: bytes, target: bytes) -> list[Header]:
        """Returns the fields of a call with a session that needs nothing but its token."""
        fields = self._of_token(ready.token, ready.proof_key, method, target)
        if self.rules.claims:
            fields += claim_headers(self.rules.claims, ready.found.session.all_claims)
        return fields

    def lines(self, ready: Ready, method: bytes, target: bytes) -> tuple[bytes, ...]:
        """Returns the same as header lines, in pieces to be joined."""
        lines = ready.lines if self.rules.claims else b""
        if self.proofs is not None and (key := ready.proof_key):
            proof = self.proofs.proof(key, ready.token, method, target)
            return (b"authorization: DPoP ", ready.token, b"\r\ndpop: ", proof, b"\r\n", lines)
        return (b"authorization: Bearer ", ready.token, b"\r\n", lines) if self.rules.bearer else (lines,)

    def _of_token(self, token: bytes, key: bytes, method: bytes, target: bytes) -> list[Header]:
        """Returns the fields that carry a token; `key` is the text of the key that it is bound to, if any."""
        if not self.rules.bearer:
            return []
        if self.proofs is not None and key:
            return self.proofs.fields(key, token, method, target)
        return [(b"authorization", b"Bearer " + token)]
