"""The proxy's requests to the provider, built and not sent: URLs, forms, client authentication.

Everything here is a pure function. Parameters that the protocol owns always win over configured or passed
ones, so that no setting and no caller can swap `redirect_uri` or drop PKCE.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl, quote_plus, urlencode, urlsplit, urlunsplit

from bff.settings.client_key import PrivateKey
from bff.settings.value_types import TLS_METHODS, ClientAuth

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - a name of RFC 8693 2.1
CLIENT_CREDENTIALS = "client_credentials"
ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - of RFC 8693 3
Fields = Mapping[str, str | Sequence[str]]
"""Parameters by name; a sequence is one that is repeated."""

RESERVED = frozenset(
    {
        "authorization_details",
        "claims",
        "client_assertion",
        "client_assertion_type",
        "client_id",
        "client_secret",
        "code",
        "code_challenge",
        "code_challenge_method",
        "dpop_jkt",
        "nonce",
        "redirect_uri",
        "request",
        "request_uri",
        "resource",
        "response_mode",
        "response_type",
        "scope",
        "state",
    }
)
"""Parameters of an authorization request that nobody but the proxy itself sets."""

_SECRET_FIELDS = (
    "client_assertion", "client_secret", "code", "code_challenge", "code_verifier", "nonce", "refresh_token",
    "state", "subject_token", "token",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Signer:
    """The client's key, with the algorithm and the name that it signs by."""

    key: PrivateKey = field(repr=False)
    alg: str
    kid: str


@dataclass(frozen=True, slots=True)
class Client:
    """The proxy's identity at the provider, and its proof. Secret and assertion stay out of `repr`.

    `assertion` is a signed JWT for this one request (RFC 7523 2.2); the other methods have none.
    `signer` signs authorization requests, where the settings say so (RFC 9101).
    """

    client_id: str
    secret: str = field(repr=False)
    method: ClientAuth = "client_secret_basic"
    assertion: str = field(default="", repr=False)
    signer: Signer | None = None


@dataclass(frozen=True, slots=True)
class ClientGrant:
    """The content of a token in the client's own name: its scopes, and the services that it is for."""

    scopes: tuple[str, ...] = ()
    resource: tuple[str, ...] = ()
    audience: str | None = None


@dataclass(frozen=True, slots=True)
class Form:
    """A POST to an endpoint of the provider: header fields and form fields. Both hold secrets: no `repr`."""

    headers: Mapping[str, str] = field(repr=False)
    fields: Fields = field(repr=False)


def changed_by_encoding(client: Client) -> bool:
    """Returns True if `client_secret_basic` sends id or secret otherwise than written (RFC 6749 2.3.1)."""
    if client.method != "client_secret_basic":
        return False
    return any(quote_plus(half) != half for half in (client.client_id, client.secret))


def code_challenge(code_verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636 4.2)."""
    digest = hashlib.sha256(code_verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def authorization_params(
    *,
    client_id: str,
    redirect_uri: str,
    scopes: Sequence[str],
    state: str,
    nonce: str,
    code_verifier: str,
    params: Mapping[str, str],
    resource: Sequence[str] = (),
    dpop_jkt: str | None = None,
) -> Fields:
    """Returns an authorization request's parameters (OpenID Connect Core 3.1.2.1, RFC 7636, RFC 8707).

    `params` are passed on except for those in `RESERVED`. `dpop_jkt` names the key that the code will be
    spent with (RFC 9449 10).
    """
    own = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "scope": " ".join(scopes),
        "state": state,
        "nonce": nonce,
        "code_challenge": code_challenge(code_verifier),
        "code_challenge_method": "S256",
    }
    passed = {name: value for name, value in params.items() if name not in RESERVED}
    bound = {} if dpop_jkt is None else {"dpop_jkt": dpop_jkt}
    return {**passed, **own, **bound, **_resource(resource)}


def authorization_url(endpoint: str, fields: Fields) -> str:
    """Returns where to send the browser; a query that the endpoint already has is kept (RFC 6749 3.1)."""
    return _with_query(endpoint, fields)


def pushed_authorization_form(client: Client, fields: Fields) -> Form:
    """The request that pushes an authorization request (RFC 9126 2.1)."""
    return _authenticated(client, fields)


def pushed_authorization_url(endpoint: str, *, client_id: str, request_uri: str) -> str:
    """Returns where to send the browser with a request that was pushed (RFC 9126 4), and nothing else."""
    return _with_query(endpoint, {"client_id": client_id, "request_uri": request_uri})


def code_form(
    client: Client, *, code: str, redirect_uri: str, code_verifier: str, resource: Sequence[str] = ()
) -> Form:
    """The request that spends an authorization code (RFC 6749 4.1.3, RFC 7636 4.5, RFC 8707 2.2)."""
    fields = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": code_verifier,
    }
    return _authenticated(client, {**fields, **_resource(resource)})


def refresh_form(
    client: Client, *, refresh_token: str, scope: str | None = None, resource: Sequence[str] = ()
) -> Form:
    """The request that spends a refresh token (RFC 6749 6). Without `scope`: the one that was granted."""
    fields = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    if scope is not None:
        fields["scope"] = scope
    return _authenticated(client, {**fields, **_resource(resource)})


def exchange_form(client: Client, *, access_token: str, audience: str) -> Form:
    """The request for a token that is meant for one backend (RFC 8693 2.1)."""
    fields = {
        "grant_type": TOKEN_EXCHANGE,
        "subject_token": access_token,
        "subject_token_type": ACCESS_TOKEN_TYPE,
        "requested_token_type": ACCESS_TOKEN_TYPE,
        "audience": audience,
    }
    return _authenticated(client, fields)


def client_form(client: Client, grant: ClientGrant) -> Form:
    """The request for a token in the client's own name (RFC 6749 4.4.2, RFC 8707 2.2)."""
    fields: dict[str, str] = {"grant_type": CLIENT_CREDENTIALS}
    if grant.scopes:
        fields["scope"] = " ".join(grant.scopes)
    if grant.audience is not None:
        fields["audience"] = grant.audience
    return _authenticated(client, {**fields, **_resource(grant.resource)})


def revocation_form(client: Client, *, token: str, hint: Literal["refresh_token", "access_token"]) -> Form:
    """The request that revokes a token (RFC 7009 2.1)."""
    return _authenticated(client, {"token": token, "token_type_hint": hint})


def introspection_form(client: Client, token: str) -> Form:
    """The question for an access token (RFC 7662 2.1)."""
    return _authenticated(client, {"token": token, "token_type_hint": "access_token"})


def end_session_url(
    endpoint: str,
    *,
    client_id: str,
    post_logout_redirect_uri: str,
    id_token_hint: str | None,
    logout_hint: str | None,
) -> str:
    """Returns where a browser signs out at the provider (OpenID Connect RP-Initiated Logout 1.0, 2)."""
    own = {"client_id": client_id, "post_logout_redirect_uri": post_logout_redirect_uri}
    if id_token_hint is not None:
        own["id_token_hint"] = id_token_hint
    if logout_hint is not None:
        own["logout_hint"] = logout_hint
    return _with_query(endpoint, own)


def secrets_of(form: Form) -> frozenset[str]:
    """The values of a form that no log may repeat, even where an answer echoes them."""
    values = (form.fields.get(name) for name in _SECRET_FIELDS)
    return frozenset(value for value in values if isinstance(value, str))


def _resource(resource: Sequence[str]) -> Fields:
    return {"resource": tuple(resource)} if resource else {}


def _authenticated(client: Client, fields: Fields) -> Form:
    if client.method in TLS_METHODS:  # the connection is the proof (RFC 8705 2)
        return Form({}, {**fields, "client_id": client.client_id})
    if client.method == "private_key_jwt":
        own = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": client.assertion}
        return Form({}, {**fields, "client_id": client.client_id, **own})
    if client.method == "client_secret_post":
        return Form({}, {**fields, "client_id": client.client_id, "client_secret": client.secret})
    # RFC 6749 2.3.1: both halves are form-encoded before they are joined and put into base64.
    pair = f"{quote_plus(client.client_id)}:{quote_plus(client.secret)}"
    credentials = base64.b64encode(pair.encode("ascii")).decode("ascii")
    return Form({"authorization": f"Basic {credentials}"}, fields)


def _with_query(endpoint: str, own: Fields) -> str:
    parts = urlsplit(endpoint)
    kept = [(k, v) for k, v in parse_qsl(parts.query, keep_blank_values=True) if k not in own]
    query = urlencode([*kept, *own.items()], doseq=True)
    return urlunsplit(parts._replace(query=query, fragment=""))
