"""A client's settings: its name, its authentication, and its rights."""

import re
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey
from pydantic import AfterValidator, Field, SecretStr, model_validator

from bff.crypto import decode
from bff.settings.sections import Section

SCOPES = ("openid", "profile", "email", "offline_access")
MIN_RSA_BITS = 2048
LOOPBACK = ("localhost", "127.0.0.1", "::1")
MAX_NAME = 100
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_URI = re.compile(r"[A-Za-z0-9._~:/?\[\]@!$&'()*+,;=%-]+")  # RFC 3986 2, without "#"
# Controls, line separators, and what turns the direction of the text behind it. Marks that letters need (ZWJ,
# ZWNJ) and single direction marks are part of names.
_UNSHOWN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)


def check_uri_text(value: str) -> None:
    """Refuses characters that no URL has, and a host that is none.

    A blank or a semicolon in the host would be another source, or another directive, in the
    Content-Security-Policy of the sign-in page.
    """
    if not _URI.fullmatch(value):
        raise ValueError(
            "has characters that must be encoded; write a host in its ASCII form (xn--…), others as %XX"
        )
    if not _HOST.fullmatch(urlsplit(value).netloc):
        raise ValueError("has a host that is none; write a name or an address, and a port if need be")


def check_shown(value: str) -> str:
    """Refuses text that a page could not show as it is."""
    if _UNSHOWN.search(value):
        raise ValueError("has control characters, or ones that turn the direction of text; remove them")
    return value


ShownText = Annotated[str, Field(max_length=MAX_NAME), AfterValidator(check_shown)]


def _check_client_url(value: str) -> str:
    """Refuses all but https URLs (http on loopback) without credentials and fragment (RFC 6749 3.1.2)."""
    parts = urlsplit(value)
    if not parts.hostname or parts.username is not None or parts.fragment or "#" in value:
        raise ValueError("must be a URL without credentials and fragment; remove them")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise ValueError("must be https (http is for localhost only); write it as https://…")
    check_uri_text(value)
    return value


def _check_jwks(value: dict[str, Any]) -> dict[str, Any]:
    """Refuses a key set that holds anything but public keys for signatures."""
    read_public_keys(value)
    return value


def read_public_keys(document: Any) -> KeySet:
    """Takes the public keys of a client's key set; ValueError where one is private, symmetric or weak."""
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not 0 < len(entries) <= 20:  # noqa: PLR2004 - nobody has more
        raise ValueError("is no key set (RFC 7517 section 5); write it as {keys = [...]}")
    if any(isinstance(entry, dict) and {"d", "k"} & entry.keys() for entry in entries):
        raise ValueError("holds private keys; give the public keys only")
    if any(isinstance(entry, dict) and _is_weak(entry) for entry in entries):
        raise ValueError(f"has an RSA key of less than {MIN_RSA_BITS} bits; make a longer one")
    try:
        keys = KeySet.import_key_set(document)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        raise ValueError("has a key that cannot be read; export it as a JWK again") from None
    if not all(isinstance(key, (RSAKey, ECKey)) for key in keys.keys):
        raise ValueError("holds other keys than EC and RSA; remove those")
    return keys


def _is_weak(entry: dict[str, Any]) -> bool:
    """Return True if an RSA key is too short, by its modulus."""
    modulus = entry.get("n")
    return isinstance(modulus, str) and int.from_bytes(decode(modulus) or b"").bit_length() < MIN_RSA_BITS


ClientUrl = Annotated[str, AfterValidator(_check_client_url)]
OwnScope = Annotated[str, Field(max_length=256, pattern=r"^[\x21\x23-\x5b\x5d-\x7e]+$")]
Audience = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[!-~]+$")]


class ClientSettings(Section):
    """A confidential client.

    Attributes:
        client_id: its name.
        client_secret: its secret; it is kept as a hash in memory.
        client_secret_sha256: the same as SHA-256 in hex, so that the settings hold no secret. Only for a
            random secret: a word would be found by trying.
        jwks: its public keys, for private_key_jwt (RFC 7523), in place of a secret.
        jwks_uri: where they are fetched from, in place of `jwks`.
        redirect_uris: where answers may go, compared to the letter; none for a service without sign-in.
        post_logout_redirect_uris: where browsers may go after a sign-out, to the letter.
        backchannel_logout_uri: where it is told that a sign-in ended (OpenID Connect Back-Channel
            Logout 1.0).
        scopes: what it may ask for.
        client_credentials: the scopes that it may have in its own name, by the grant of that name (RFC 6749
            4.4); None: it may not use it.
        audiences: what else its tokens may be for: by `resource`, and by token exchange, which it may use
            if this names any.
        introspects: the audiences whose access tokens it may ask about (RFC 7662); its own it always may.
        require_par: True if each of its authorization requests must be pushed first (RFC 9126).
        require_request_object: True if each of them must be signed by a key of its own (RFC 9101).
        require_dpop: True if its tokens must be bound to a key that it proves (RFC 9449).
        dpop_nonce: True if its proofs must repeat a nonce of ours.
        name: what people read on the sign-in page, of at most 100 characters.
    """

    client_id: str = Field(pattern=r"^[A-Za-z0-9._~-]{1,128}$")
    client_secret: SecretStr | None = Field(default=None, min_length=1, max_length=1024)
    client_secret_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    jwks: Annotated[dict[str, Any], AfterValidator(_check_jwks)] | None = None
    jwks_uri: ClientUrl | None = None
    redirect_uris: tuple[ClientUrl, ...] = ()
    post_logout_redirect_uris: tuple[ClientUrl, ...] = ()
    backchannel_logout_uri: ClientUrl | None = None
    scopes: tuple[str, ...] = SCOPES
    client_credentials: tuple[OwnScope, ...] | None = None
    audiences: tuple[Audience, ...] = ()
    introspects: tuple[Audience, ...] = ()
    require_par: bool = False
    require_request_object: bool = False
    require_dpop: bool = False
    dpop_nonce: bool = False
    name: ShownText = ""

    @model_validator(mode="after")
    def _is_no_user(self) -> Self:
        if users := sorted(set(SCOPES) & set(self.client_credentials or ())):
            raise ValueError(f"client_credentials names scopes about users; remove {', '.join(users)}")
        return self

    @model_validator(mode="after")
    def _shows_itself_in_one_way(self) -> Self:
        ways = (self.client_secret, self.client_secret_sha256, self.jwks, self.jwks_uri)
        if sum(way is not None for way in ways) != 1:
            raise ValueError(
                "cannot authenticate; set one of client_secret, client_secret_sha256, jwks and jwks_uri"
            )
        if self.require_request_object and self.jwks is None and self.jwks_uri is None:
            raise ValueError("require_request_object needs a key to sign with; set jwks or jwks_uri")
        return self
