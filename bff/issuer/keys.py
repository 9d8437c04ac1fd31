"""The key that signs tokens, and the set in which it is published (RFC 7517)."""

from typing import Any, Final

from joserfc.jwk import ECKey, KeySet, KeySetSerialization

ALGORITHM: Final = "ES256"


class SigningKey:
    """An ES256 key; its `kid` is the RFC 7638 thumbprint. It is not kept: a restart makes a new one."""

    def __init__(self, key: ECKey) -> None:
        self.private = key
        self.kid = key.thumbprint()

    @classmethod
    def generate(cls) -> "SigningKey":
        """Makes a new key."""
        return cls(ECKey.generate_key("P-256"))

    def header(self, typ: str) -> dict[str, Any]:
        """The JOSE header of a token of the given type."""
        return {"alg": ALGORITHM, "kid": self.kid, "typ": typ}

    def public_set(self) -> KeySetSerialization:
        """What `/jwks` answers: the public half only."""
        public = ECKey.import_key(
            {**self.private.as_dict(private=False), "kid": self.kid, "use": "sig", "alg": ALGORITHM}
        )
        return KeySet([public]).as_dict(private=False)
