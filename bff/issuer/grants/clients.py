"""Registered clients, as authlib's grants ask for them (RFC 6749 section 2)."""

import hashlib
import hmac

from authlib.oauth2.rfc6749 import ClientMixin

from bff.issuer.client_settings import ClientSettings

TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - RFC 8693 section 2.1
CLIENT_CREDENTIALS = "client_credentials"
AUTH_METHODS = ("client_secret_basic", "client_secret_post", "private_key_jwt")


class Client(ClientMixin):  # type: ignore[misc] # authlib publishes no types
    """A confidential client. Its secret is kept as a hash, so that it cannot be logged."""

    def __init__(self, settings: ClientSettings) -> None:
        self.client_id = settings.client_id
        self.name = settings.name or settings.client_id
        self.post_logout_redirect_uris = settings.post_logout_redirect_uris
        self.backchannel_logout_uri = settings.backchannel_logout_uri
        self.audiences = settings.audiences
        self.introspects = settings.introspects
        self.require_par = settings.require_par
        self.require_request_object = settings.require_request_object
        self.require_dpop, self.dpop_nonce = settings.require_dpop, settings.dpop_nonce
        self.jwks, self.jwks_uri = settings.jwks, settings.jwks_uri
        self._redirect_uris = settings.redirect_uris
        self.own_scopes = settings.client_credentials or ()
        self.acts_for_itself = settings.client_credentials is not None
        self._scopes = settings.scopes
        self._secret = _stored_secret(settings)

    def __repr__(self) -> str:
        return f"Client({self.client_id!r})"

    def get_client_id(self) -> str:
        """The registered name."""
        return self.client_id

    def get_default_redirect_uri(self) -> None:
        """Returns None: each request has to name its redirect URI."""

    def get_allowed_scope(self, scope: str | None) -> str | None:
        """The allowed part of a requested scope; None (an error) if no part is allowed."""
        wanted = (scope or "").split()
        return " ".join(dict.fromkeys(name for name in wanted if name in self._scopes)) or None

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Compares to the letter (RFC 9700 section 2.1)."""
        return redirect_uri in self._redirect_uris

    def check_client_secret(self, client_secret: str) -> bool:
        """Compares in constant time; a client with keys has no secret."""
        return self._secret is not None and hmac.compare_digest(self._secret, _hash(client_secret))

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """Allows a secret in the header or in the form, or keys; never no authentication."""
        del endpoint
        return method in (AUTH_METHODS[:2] if self._secret is not None else AUTH_METHODS[2:])

    def check_response_type(self, response_type: str) -> bool:
        """The code flow only."""
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        """Allows codes and refresh tokens; token exchange if the client has audiences for it.

        Client credentials if the settings name the scopes of such tokens.
        """
        if grant_type == CLIENT_CREDENTIALS:
            return self.acts_for_itself
        return grant_type in ("authorization_code", "refresh_token") or (
            grant_type == TOKEN_EXCHANGE and bool(self.audiences)
        )


def _stored_secret(settings: ClientSettings) -> bytes | None:
    if settings.client_secret is not None:
        return _hash(settings.client_secret.get_secret_value())
    return bytes.fromhex(settings.client_secret_sha256) if settings.client_secret_sha256 else None


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
