"""Client authentication at a provider: by a secret, a JWT that the proxy signs, or its certificate.

An assertion is made for one request. Its `aud` is the issuer identifier alone, so that one provider cannot
use at another what it was sent (the update of RFC 7523 that followed the attack of 2025); a setting makes it
the token endpoint, for providers that know the old rule only.
"""

import json
import secrets
import warnings
from collections.abc import Callable, Sequence

from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey

from bff.oidc.metadata import Metadata
from bff.oidc.requests import Client, Signer
from bff.settings.client_key import PrivateKey, algorithms_of, read_client_key
from bff.settings.model import ProviderSettings
from bff.settings.value_types import FAPI2_ALGS, TLS_METHODS

ASSERTION_LIFETIME = 60
"""Seconds; it is used at once, and providers remember its `jti` for so long."""


class Credentials:
    """One means by which the proxy shows who it is; ValueError without any."""

    def __init__(self, settings: ProviderSettings) -> None:
        self.key: PrivateKey | None = None
        self.secret = ""
        if settings.client_auth == "private_key_jwt":
            if settings.client_key is None:
                raise ValueError("the client has to authenticate: provider.client_key is not set")
            self.key = read_client_key(settings.client_key.get_secret_value())
        elif settings.client_auth in TLS_METHODS:
            if settings.client_cert_file is None:
                raise ValueError("the client has to authenticate: provider.client_cert_file is not set")
        elif settings.client_secret is None:
            raise ValueError("the client has to authenticate: provider.client_secret is not set")
        else:
            self.secret = settings.client_secret.get_secret_value()


class Authentication:
    """The client's authentication. `clock` gives seconds since the epoch; ValueError without a means.

    After a change there are two means, until the provider has accepted the newer one: nobody changes a secret
    here and there in the same moment.
    """

    def __init__(self, settings: ProviderSettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._newest = Credentials(settings)
        self.means = [self._newest]
        """Those that may be right, the likeliest first."""

    def replace(self, settings: ProviderSettings) -> None:
        """Takes a newer secret or key; ValueError changes nothing."""
        self._newest = Credentials(settings)
        self.means = [self._newest, self.means[0]]

    def is_newest(self, means: Credentials) -> bool:
        """Returns True if a means is the one that was set last."""
        return means is self._newest

    def accepted(self, means: Credentials, refused: Sequence[Credentials] = ()) -> None:
        """Notes that the provider knows this means, after others that it refused in the same call.

        With the newest the former is done with. The former comes first only where the newest was refused: a
        call that began before the change says nothing about the newest.
        """
        if len(self.means) == 1:
            return
        if means is self._newest:
            self.means = [means]
        elif self._newest in refused:
            self.means = [means, self._newest]

    def client(self, metadata: Metadata, means: Credentials | None = None) -> Client:
        """Returns our identity for one request to this provider; by the likeliest means if none is given."""
        settings = self._settings
        means = means or self.means[0]
        if means.key is None:
            return Client(settings.client_id, means.secret, settings.client_auth)
        signer = self._signer(means.key, metadata.request_object_algs) if settings.request_object else None
        return Client(
            settings.client_id, "", settings.client_auth, self._assertion(means.key, metadata), signer
        )

    def _signer(self, key: PrivateKey, offered: Sequence[str]) -> Signer:
        settings = self._settings
        permitted = FAPI2_ALGS if settings.profile == "fapi2" else None
        kid = settings.client_key_id or key.kid or key.thumbprint()
        return Signer(key, choose_alg(key, offered, permitted), kid)

    def _assertion(self, key: PrivateKey, metadata: Metadata) -> str:
        settings, now = self._settings, int(self._clock())
        signer = self._signer(key, metadata.client_assertion_algs)
        header = {"alg": signer.alg, "kid": signer.kid, "typ": "JWT"}
        by_endpoint = settings.client_assertion_aud == "token_endpoint"
        claims = {
            "iss": settings.client_id,
            "sub": settings.client_id,
            "aud": metadata.token_endpoint if by_endpoint else metadata.issuer,
            "jti": secrets.token_urlsafe(16),
            "iat": now,
            "exp": now + ASSERTION_LIFETIME,
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # "EdDSA": as a name only (RFC 9864)
            return jwt.encode(header, claims, key, [header["alg"]])


def new_client_key() -> str:
    """A new private key (P-256) as a JWK, named by its thumbprint (RFC 7638)."""
    key = ECKey.generate_key("P-256")
    return json.dumps({**key.as_dict(private=True), "kid": key.thumbprint()})


def choose_alg(key: PrivateKey, offered: Sequence[str], permitted: Sequence[str] | None = None) -> str:
    """The algorithm to sign with: the key's own, else one that the provider says it verifies.

    `permitted` are those of a profile; the settings were refused if the key has none of them.
    """
    possible = algorithms_of(key)
    fitting = [alg for alg in possible if permitted is None or alg in permitted] or possible
    return next((alg for alg in fitting if alg in offered), fitting[0])
