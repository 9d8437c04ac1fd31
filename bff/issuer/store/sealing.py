"""Encryption of values in Redis: AES-256-GCM under keys derived by HKDF, one label for each use.

Rule: no error gives the reason why a value did not open.
"""

import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bff.crypto import KEY_BYTES, decode, encode

_NONCE_BYTES = 12
_SUCCESSOR = b"bff issuer successor v1"
_SIGNING_KEY = b"bff issuer signing key v1"
_KEY_ID = b"bff issuer key id v1"


def seal_with_token(token: str, plaintext: str) -> str:
    """Seals under a key that is derived from a token of 256 random bits."""
    return _seal(_derive(token.encode(), _SUCCESSOR), plaintext.encode(), b"")


def open_with_token(token: str, sealed: str) -> str | None:
    """Undoes `seal_with_token`; None for a changed value."""
    plaintext = _open(_derive(token.encode(), _SUCCESSOR), sealed, b"")
    return None if plaintext is None else plaintext.decode()


class Sealer:
    """Seals under the server keys, newest first; each is 32 bytes in base64url."""

    def __init__(self, server_keys: Sequence[str]) -> None:
        raw = [decode(key.rstrip("=")) or b"" for key in server_keys]
        if not raw or any(len(key) != KEY_BYTES for key in raw):
            raise ValueError("a server key is 32 bytes in base64url, as `bff keys generate` prints them")
        self._keys = {_derive(key, _KEY_ID).hex()[:8]: _derive(key, _SIGNING_KEY) for key in raw}
        self._newest = next(iter(self._keys))

    def seal(self, plaintext: str, bound_to: bytes) -> str:
        """Seals under the newest key; it opens for the same `bound_to` only."""
        return f"{self._newest}.{_seal(self._keys[self._newest], plaintext.encode(), bound_to)}"

    def open(self, sealed: str, bound_to: bytes) -> str | None:
        """Undoes `seal`, under any of the keys; None for a changed value."""
        name, _, data = sealed.partition(".")
        key = self._keys.get(name)
        plaintext = _open(key, data, bound_to) if key else None
        return None if plaintext is None else plaintext.decode()


def _derive(secret: bytes, label: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=label).derive(secret)


def _seal(key: bytes, plaintext: bytes, bound_to: bytes) -> str:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return encode(nonce + AESGCM(key).encrypt(nonce, plaintext, bound_to))


def _open(key: bytes, sealed: str, bound_to: bytes) -> bytes | None:
    data = decode(sealed)
    if data is None:
        return None
    try:
        return AESGCM(key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], bound_to)
    except (InvalidTag, ValueError):
        return None
