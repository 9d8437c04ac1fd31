"""The key that the proxy authenticates with at its provider (private_key_jwt). Pure.

Rule 1: no message holds a part of the key.
"""

import json
import warnings
from collections.abc import Iterator

from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey
from joserfc.jwk import import_key as import_pem

from bff.settings.model import ProviderSettings
from bff.settings.problem import Finding
from bff.settings.value_types import TLS_METHODS

PrivateKey = RSAKey | ECKey | OKPKey
EXAMPLE_SECRET = "replace-me-with-the-client-secret"  # noqa: S105 - the example's, refused below
MIN_RSA_BITS = 2048  # RFC 7518 3.3
_CURVE_ALGS = {
    "P-256": ("ES256",),
    "P-384": ("ES384",),
    "P-521": ("ES512",),
    "Ed25519": ("EdDSA", "Ed25519"),
}
_RSA_ALGS = ("RS256", "PS256")
_CURVES = ("P-256", "P-384", "P-521", "Ed25519")
_FIX = "write it as PEM (PKCS #8, without a passphrase) or as a JWK"


def read_client_key(text: str) -> PrivateKey:
    """Reads a private key in PEM or as a JWK; raises ValueError with the reason for a bad one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # keys that it warns about are refused below
            key = JWKRegistry.import_key(json.loads(text)) if text.lstrip().startswith("{") else _pem(text)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        raise ValueError("is no private key") from None
    if not isinstance(key, RSAKey | ECKey | OKPKey) or not key.is_private:
        raise ValueError("is no private key")
    if isinstance(key, RSAKey) and key.raw_value.key_size < MIN_RSA_BITS:
        raise ValueError(f"is an RSA key of fewer than {MIN_RSA_BITS} bits")
    if isinstance(key, ECKey | OKPKey) and key.curve_name not in _CURVES:
        raise ValueError("is on a curve that no provider verifies")
    return key


def algorithms_of(key: PrivateKey) -> tuple[str, ...]:
    """Returns the algorithms that a key may sign by, the likeliest first; only its own where it names one."""
    if key.alg is not None:
        return (key.alg,)
    return _RSA_ALGS if isinstance(key, RSAKey) else _CURVE_ALGS[str(key.get("crv"))]


def public_key_set(text: str) -> str:
    """The public half as a JWK set, for the provider; ValueError as for `read_client_key`."""
    key = read_client_key(text)
    public = {**key.as_dict(private=False), "kid": key.kid or key.thumbprint(), "use": "sig"}
    return json.dumps({"keys": [public]}, indent=2)


def _pem(text: str) -> object:
    return import_pem(text)


def check_client_auth(provider: ProviderSettings) -> Iterator[Finding]:
    """Checks that the client's credentials are complete (RFC 10017 6.1.3.1), and of one kind."""
    secret = provider.client_secret.get_secret_value() if provider.client_secret else ""
    key = provider.client_key.get_secret_value() if provider.client_key else ""
    yield from _certificate(provider)
    if provider.request_object and provider.client_auth != "private_key_jwt":
        yield Finding(
            "provider.request_object",
            f'signs by client_key, and client_auth is "{provider.client_auth}"',
            'set client_auth = "private_key_jwt", or remove the line',
            needs=("provider.client_auth",),
        )
    if provider.client_auth == "private_key_jwt":
        yield from _with_key(secret, key)
        return
    if provider.client_auth in TLS_METHODS:
        if secret:
            yield _needless(provider.client_auth)
        return
    if not secret:
        yield Finding(
            "provider.client_secret",
            "is missing: the proxy is a confidential client (RFC 10017 6.1.3.1)",
            "set client_secret_file, or BFF_PROVIDER__CLIENT_SECRET",
            needs=("provider.client_secret_file", "provider.client_auth"),
        )
    elif secret == EXAMPLE_SECRET:
        yield Finding("provider.client_secret", "is the example's", "use the one that the provider gave you")
    if key:
        yield Finding(
            "provider.client_key",
            "is not used, because client_auth sends a secret",
            'set client_auth = "private_key_jwt", or remove the key',
            needs=("provider.client_auth", "provider.client_key_file"),
            warning=True,
        )


def _needless(method: str) -> Finding:
    return Finding(
        "provider.client_secret",
        f'is not used, because client_auth is "{method}"',
        "remove the secret, so that it cannot leak",
        needs=("provider.client_auth", "provider.client_secret_file"),
    )


def _certificate(provider: ProviderSettings) -> Iterator[Finding]:
    if provider.client_cert_file is None:
        if provider.over_mtls():
            why = "client_auth" if provider.client_auth in TLS_METHODS else "token_binding"
            yield Finding(
                "provider.client_cert_file",
                f"is missing, and {why} is by the client's certificate (RFC 8705)",
                "name the PEM file of the certificate that the provider knows, and client_cert_key_file",
                needs=(f"provider.{why}",),
            )
        elif provider.client_cert_key_file is not None:
            yield Finding(
                "provider.client_cert_key_file",
                "is set without client_cert_file, whose key it is",
                "set client_cert_file, or remove the line",
                needs=("provider.client_cert_file",),
            )


def _with_key(secret: str, key: str) -> Iterator[Finding]:
    if secret:
        yield _needless("private_key_jwt")
    if not key:
        yield Finding(
            "provider.client_key",
            'is missing, and client_auth is "private_key_jwt"',
            "set client_key_file to the private key whose public half the provider knows",
            needs=("provider.client_key_file", "provider.client_auth"),
        )
        return
    try:
        read_client_key(key)
    except ValueError as error:
        yield Finding("provider.client_key", str(error), _FIX, needs=("provider.client_key_file",))
