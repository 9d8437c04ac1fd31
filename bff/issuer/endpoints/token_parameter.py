"""The check of the parameters that introspection and revocation share (RFC 7662 2.1, RFC 7009 2.1)."""

from typing import Any

from authlib.oauth2.rfc6749 import InvalidRequestError

from bff.issuer.grants.clients import Client


class TokenParameter:
    """A part of an endpoint that is asked about a token: a hint may be unknown, the token must be there."""

    def check_params(self, request: Any, client: Client) -> None:
        """Refuses a request without a token; an unknown `token_type_hint` is no reason to refuse."""
        del client
        if not request.form.get("token"):
            raise InvalidRequestError("Missing 'token' in request.")
