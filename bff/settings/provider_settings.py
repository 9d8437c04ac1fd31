"""The settings of one OpenID Provider; `provider_check.py` and `fapi2.py` have the rules about them."""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, SecretStr, model_validator

from bff.settings.claim_rule import ClaimRule
from bff.settings.sections import Section
from bff.settings.value_types import (
    FAPI2_DEFAULTS,
    SLUG,
    TLS_METHODS,
    ClientAuth,
    Detail,
    Seconds,
    SecondsOrZero,
    SignalEvent,
)


def _has_profile(data: Any) -> bool:
    return isinstance(data, dict) and data.get("profile") == "fapi2"


class ProviderSettings(Section):
    """`[provider]`: the OpenID Provider that users sign in at."""

    name: str = Field(default="main", pattern=SLUG)
    title: str | None = Field(default=None, min_length=1, max_length=80)  # None: its name
    callback: Literal["shared", "own"] | None = None  # None: "own" where there is a choice
    issuer: str
    profile: Literal["none", "fapi2"] = "none"
    discovery_url: str | None = None  # None: issuer + /.well-known/openid-configuration
    authorization_endpoint: str | None = None  # these win over the discovery document's
    token_endpoint: str | None = None
    jwks_uri: str | None = None
    revocation_endpoint: str | None = None
    end_session_endpoint: str | None = None
    userinfo_endpoint: str | None = None
    pushed_authorization_request_endpoint: str | None = None
    userinfo: Literal["auto", "always", "never"] = "auto"
    allow: ClaimRule | None = None  # None: everybody who has an account there
    acr_required: tuple[str, ...] = ()
    logout_exp: Literal["required", "optional"] = "required"
    frontchannel_logout: bool = False
    signals_issuer: str | None = None  # None: no receiver of Shared Signals
    signals_jwks_uri: str | None = None  # None: by the transmitter's configuration
    signals_audience: tuple[str, ...] = ()  # (): client_id
    signals_events: tuple[SignalEvent, ...] = get_args(SignalEvent)
    client_id: str
    client_secret: SecretStr | None = None
    client_secret_file: Path | None = None
    client_auth: ClientAuth = "client_secret_basic"
    client_key: SecretStr | None = None  # private, in PEM or as a JWK
    client_key_file: Path | None = None
    client_cert_file: Path | None = None
    client_cert_key_file: Path | None = None  # None: the key is in client_cert_file
    token_binding: Literal["none", "dpop", "mtls"] = "none"  # noqa: S105 - a way, and no password
    dpop_alg: Literal["ES256", "EdDSA"] = "ES256"  # of the keys that tokens are bound to
    client_key_id: str | None = None  # None: the JWK's own `kid`, else the RFC 7638 thumbprint
    client_assertion_aud: Literal["issuer", "token_endpoint"] = "issuer"
    par: Literal["auto", "always", "never"] = "auto"
    request_object: bool = False
    resource: tuple[str, ...] = ()
    authorization_details: tuple[Detail, ...] = ()
    login_authorization_details: dict[str, tuple[Detail, ...]] = Field(default_factory=dict)
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    login_params: tuple[str, ...] = ("prompt", "login_hint", "acr_values", "max_age", "ui_locales")
    extra_params: dict[str, str] = Field(default_factory=dict)
    id_token_algs: tuple[str, ...] = ("RS256", "ES256", "PS256", "EdDSA")
    clock_skew: Annotated[SecondsOrZero, Field(le=300)] = 30.0
    refresh_token_lifetime: Seconds | None = None
    end_session_hint: bool = True
    post_logout_path: str = "/"
    claims: tuple[str, ...] | None = None  # None: all but those that belong to the protocol
    ca_file: Path | None = None
    proxy: SecretStr | None = None  # a URL, which may hold a password, or "environment"; None: no proxy
    timeout: Seconds = 10.0
    max_token_calls: int = Field(default=20, ge=1, le=1000)
    metadata_lifetime: Seconds = 3600.0

    @model_validator(mode="before")
    @classmethod
    def _by_profile(cls, data: Any) -> Any:
        """Puts the profile's defaults in place of the general ones."""
        return {**FAPI2_DEFAULTS, **data} if _has_profile(data) else data

    def detail_types(self) -> tuple[str, ...]:
        """The types of all authorization details (RFC 9396) that a sign-in may ask for."""
        sets = (self.authorization_details, *self.login_authorization_details.values())
        return tuple(dict.fromkeys(str(each["type"]) for details in sets for each in details))

    def over_mtls(self) -> bool:
        """Returns True if the provider authenticates the client, or binds its tokens, by its certificate."""
        return self.client_auth in TLS_METHODS or self.token_binding == "mtls"  # noqa: S105 - a way

    def over_dpop(self) -> bool:
        """Returns True if the provider binds tokens to a key of each session (RFC 9449)."""
        return self.token_binding == "dpop"  # noqa: S105 - a way, and no password
