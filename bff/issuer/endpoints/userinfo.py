"""The userinfo endpoint (OpenID Connect Core 5.3), for bearer tokens and for those that are bound to a key.

Rule: a bound token counts only with a proof by its key (RFC 9449 7), and is refused as a bearer token.
"""

import time
from collections.abc import Mapping
from typing import Any

from authlib.oauth2.rfc6749 import OAuth2Error
from starlette.requests import Request
from starlette.responses import Response

from bff.issuer.context import IssuerContext
from bff.issuer.endpoints.http import json_answer
from bff.issuer.grants.engine import ProtocolRequest
from bff.issuer.grants.proofs import ALGORITHMS, UseNonceError
from bff.issuer.grants.tokens import personal_claims

_ALGS = f'algs="{" ".join(ALGORITHMS)}"'
_FORBIDDEN = 403
_UNAUTHORIZED = 401


class Userinfo:
    """The endpoint."""

    def __init__(self, context: IssuerContext) -> None:
        self._context = context

    def answer(self, request: Request) -> Response:
        """Answers a call; blocks."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        scheme, token = scheme.lower(), token.strip()
        known = scheme in ("bearer", "dpop") and bool(token)
        claims = self._context.server.active.find(token, int(time.time())) if known else None
        if claims is None:
            return _refuse(scheme, _UNAUTHORIZED, "invalid_token" if token else None)
        try:
            nonce = self._check_binding(request, scheme, token, claims)
        except UseNonceError as error:
            return _refuse(scheme, _UNAUTHORIZED, error.error, error.nonce)
        except OAuth2Error as error:
            return _refuse(scheme, _UNAUTHORIZED, error.error)
        if "openid" not in claims["scope"].split():
            return _refuse(scheme, _FORBIDDEN, "insufficient_scope")
        account = self._context.accounts.find(claims["sub"])
        if account is None:
            return _refuse(scheme, _UNAUTHORIZED, "invalid_token")
        headers = {} if nonce is None else {"DPoP-Nonce": nonce}
        return json_answer(personal_claims(account, claims["scope"]), headers=headers)

    def _check_binding(
        self, request: Request, scheme: str, token: str, claims: Mapping[str, Any]
    ) -> str | None:
        """Refuses a bound token without its proof, and a proof for another key; returns the next nonce."""
        jkt = claims.get("cnf", {}).get("jkt")
        client = self._context.server.query_client(claims["client_id"])
        if jkt is None and scheme == "bearer":
            return None
        if jkt is None or scheme != "dpop" or client is None:
            raise OAuth2Error(error="invalid_token")
        url, proofs = f"{self._context.settings.url}/userinfo", request.headers.getlist("dpop")
        proved = ProtocolRequest(request.method, url, {}, {}, proofs)
        found = self._context.server.proofs.key_of(proved, client, token)
        if not found:
            raise OAuth2Error(error="invalid_dpop_proof")
        if found != jkt:
            raise OAuth2Error(error="invalid_token")
        return proved.next_nonce


def _refuse(scheme: str, status: int, error: str | None, nonce: str | None = None) -> Response:
    """RFC 6750 3, RFC 9449 7.1: no error code where no token came."""
    words = [f'error="{error}"'] if error else []
    words = [*words, _ALGS] if scheme == "dpop" else words
    challenge = f"{'DPoP' if scheme == 'dpop' else 'Bearer'} {', '.join(words)}".strip()
    headers = {"WWW-Authenticate": challenge} | ({"DPoP-Nonce": nonce} if nonce else {})
    return json_answer({"error": error or "unauthorized"}, status, headers)
