"""The keys that sign tokens, and the set in which they are published (RFC 7517).

Keys sign and read tokens by one interface (`Keys`): one key that a process made for itself (`OneKey`), or
those that all processes of an issuer share (`key_store.py`).
"""

from collections.abc import Iterable
from typing import Any, Literal, Protocol

from joserfc.jwk import ECKey, KeySet, KeySetSerialization, RSAKey

Algorithm = Literal["ES256", "RS256"]


class SigningKey:
    """A private key for one algorithm; its `kid` is the RFC 7638 thumbprint."""

    def __init__(self, key: ECKey | RSAKey) -> None:
        self.private = key
        self.kid = key.thumbprint()
        self.algorithm: Algorithm = "RS256" if isinstance(key, RSAKey) else "ES256"

    def __repr__(self) -> str:
        return f"SigningKey({self.kid!r})"

    @classmethod
    def generate(cls, algorithm: Algorithm = "ES256", rsa_bits: int = 2048) -> "SigningKey":
        """Makes a new key."""
        return cls(RSAKey.generate_key(rsa_bits) if algorithm == "RS256" else ECKey.generate_key("P-256"))

    @classmethod
    def read(cls, document: dict[str, Any]) -> "SigningKey":
        """Reads a key that `document` has written."""
        kind = RSAKey if document.get("kty") == "RSA" else ECKey
        return cls(kind.import_key(document))

    def document(self) -> dict[str, Any]:
        """The private key as a JWK: to be sealed, and never shown."""
        return dict(self.private.as_dict(private=True))

    def header(self, typ: str) -> dict[str, Any]:
        """The JOSE header of a token of the given type."""
        return {"alg": self.algorithm, "kid": self.kid, "typ": typ}

    def public(self) -> ECKey | RSAKey:
        """The public half, as it is published."""
        fields = {**self.private.as_dict(private=False), "kid": self.kid, "use": "sig", "alg": self.algorithm}
        return type(self.private).import_key(fields)


class Keys(Protocol):
    """The keys of one issuer. Calls may block; `now` is in seconds since 1970."""

    def signer(self, now: float) -> SigningKey:
        """The key that signs now."""

    def find(self, kid: str, now: float) -> SigningKey | None:
        """The key of that name, if a hint that it signed can still be presented: a retired one too."""

    def published(self, now: float) -> list[SigningKey]:
        """The keys that verifiers may need: the present one, later ones, and former ones."""


class OneKey:
    """A key that lives as long as the process: for development, tests and the demo."""

    def __init__(self, key: SigningKey) -> None:
        self._key = key

    def signer(self, now: float) -> SigningKey:
        """The one key."""
        del now
        return self._key

    def find(self, kid: str, now: float) -> SigningKey | None:
        """The one key, by its name."""
        del now
        return self._key if kid == self._key.kid else None

    def published(self, now: float) -> list[SigningKey]:
        """The one key."""
        del now
        return [self._key]


def public_set(keys: Iterable[SigningKey]) -> KeySetSerialization:
    """The answer of `/jwks`: the public halves only."""
    return KeySet([key.public() for key in keys]).as_dict(private=False)
