"""Keys and what is made with them: handles, sealed records, sealed cookies, and proofs.

Rule 1: every use has a key of its own, derived by HKDF with its own label (RFC 5869).
Rule 2: the newest key makes, every key verifies and opens; so keys rotate without ending sessions.
Rule 3: one handle has one spelling; what is not exactly that is refused before any hash is made of it.
Rule 4: nothing here tells why something did not open.
Rule 5: something that no key verifies is no garbage yet: another process may have read a newer key first.
The holder of the keys is asked once for newer ones (`ask`), and the value is checked again.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import itsdangerous
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import ConfigDict, TypeAdapter

KEY_BYTES = 32
_NONCE_BYTES = 12
_SALT_BYTES = 16
_TAG_DIGITS = 18
_FORMAT = "1"
_PARTS = 3  # of what is sealed: format, key, data
_RECORD = b"record v1"
_RECORD_INFO = b"bff " + _RECORD + b"\x01"  # the first and only block that is expanded
_MODULUS = 10**_TAG_DIGITS
_PAYLOAD = 43  # characters of a handle before its signature
_LAST_OF_THREE = b"AEIMQUYcgkosw048"  # last characters of base64 whose two unused bits are zero
_URL_SAFE = bytes.maketrans(b"-_", b"+/")  # from base64url
_BASE64: Any = TypeAdapter(bytes, config=ConfigDict(val_json_bytes="base64")).validator
"""Decodes some seven times as fast as `binascii`, which matters for records of several kilobytes."""
_HALF = b"[A-Za-z0-9_-]{42}[%b]" % _LAST_OF_THREE
_HANDLE = re.compile(_HALF + rb"\." + _HALF)


def encode(data: bytes) -> str:
    """Base64url without padding (RFC 7515 appendix C)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes | None:
    """Undoes `encode`; None for any spelling but the one that `encode` makes."""
    if "=" in text or "+" in text or "/" in text:
        return None
    try:
        data: bytes = _BASE64.validate_strings(text)
    except ValueError:
        return None
    return data


def key_id(secret: str) -> str:
    """The id of a server key, from which nothing else can be worked out; ValueError if it is none."""
    return Keyring([secret]).kids[0]


def new_secret() -> str:
    """Makes a server key for the setting `session.keys`: 256 random bits in base64url."""
    return encode(secrets.token_bytes(KEY_BYTES))


def session_key(handle: str) -> str:
    """The Redis key's last part: SHA-256 of the handle in hex, from which no cookie can be made."""
    return hashlib.sha256(handle.encode("ascii")).hexdigest()


def _derive(secret: bytes, label: bytes, *, salt: bytes | None = None) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=b"bff " + label).derive(secret)


def _record_key(key: "_ServerKey", handle: str) -> bytes:
    """The key of one handle's record: `_derive` of both keys, which is two HMACs (RFC 5869, 2.2 and 2.3).

    Each read of a session that is not in memory derives it; `HKDF` takes half as much again.
    """
    expanding = _begun(_mac(_NO_SALT, key.session + handle.encode()))
    expanding.update(_RECORD_INFO)
    return expanding.finalize()


def _mac(key: HMAC, message: bytes) -> bytes:
    """HMAC-SHA-256 of a message; to copy a begun one is cheaper than to begin."""
    begun = key.copy()
    begun.update(message)
    return begun.finalize()


def _begun(key: bytes) -> HMAC:
    return HMAC(key, _SHA256)  # a copy of the standard library's takes two thirds more instructions


_SHA256 = SHA256()
_NO_SALT = _begun(bytes(KEY_BYTES))


@dataclass(frozen=True, slots=True)
class _ServerKey:
    kid: str
    header: bytes  # of what is sealed with it
    session: bytes
    cookie: bytes
    proof: HMAC
    signing: bytes
    signed: HMAC  # the same, begun
    minting: bytes

    @classmethod
    def derived_from(cls, secret: bytes, scope: bytes) -> "_ServerKey":
        signing = _derive(secret, b"handle signature v1" + scope)
        kid = _derive(secret, b"key id v1").hex()[:8]
        return cls(
            kid=kid,
            header=f"{_FORMAT}.{kid}".encode(),
            session=_derive(secret, b"session v1" + scope),
            cookie=_derive(secret, b"cookie v1" + scope),
            proof=_begun(_derive(secret, b"proof v1" + scope)),
            signing=signing,
            signed=_begun(signing),
            minting=_derive(secret, b"minted token v1") + _derive(secret, b"minted token v1 more"),
        )


class Keyring:
    """The server's keys, each 32 bytes in base64url as `new_secret` makes them.

    Attributes:
        ask: called when nothing verifies or opens; True if the keys have been replaced, by newer ones.
        minting: the seeds (64 bytes) of the keys that sign minted tokens; that of the one that makes first.
    """

    def __init__(self, keys: Sequence[str], scope: bytes = b"") -> None:
        self.ask: Callable[[], bool] = lambda: False
        self._scope = scope
        self._frontends: dict[str, Keyring] = {}
        self.replace(keys)

    def of_frontend(self, name: str) -> "Keyring":
        """Returns the keys of one frontend, which follow these: what one has made no other opens or verifies.

        The frontend without a name has these themselves.
        """
        if not name:
            return self
        if (own := self._frontends.get(name)) is None:
            own = self._frontends[name] = Keyring(self._secrets, b" frontend " + name.encode("ascii"))
            own.ask = lambda: self.ask()  # noqa: PLW0108 - as it is then
        return own

    def replace(self, keys: Sequence[str]) -> None:
        """Takes other keys: the first one makes, all verify and open. ValueError changes nothing."""
        raw = [decode(key.rstrip("=")) for key in keys]
        if not raw or any(key is None or len(key) != KEY_BYTES for key in raw):
            raise ValueError("a server key is 32 bytes in base64url, as `bff keys generate` prints them")
        self._secrets = tuple(keys)
        self._keys = [_ServerKey.derived_from(key, self._scope) for key in raw if key is not None]
        self._by_kid = {key.kid: key for key in self._keys}
        self.minting = tuple(key.minting for key in self._keys)
        self._signer = itsdangerous.Signer(
            [key.signing for key in reversed(self._keys)],  # itsdangerous signs with the last
            sep=".",
            key_derivation="none",
            digest_method=hashlib.sha256,
        )
        for own in self._frontends.values():
            own.replace(keys)

    @property
    def kids(self) -> list[str]:
        """The ids of the keys, which records and cookies name; the key that makes comes first."""
        return [key.kid for key in self._keys]

    # Handles

    def new_handle(self) -> str:
        """Makes a cookie value: 256 random bits and their signature."""
        return self._signer.sign(encode(secrets.token_bytes(KEY_BYTES))).decode("ascii")

    def accepts(self, value: bytes) -> str | None:
        """Returns the handle if the cookie's value is one that this server made, else None."""
        if not _HANDLE.fullmatch(value):
            return None
        if self._signed(value) or (self.ask() and self._signed(value)):
            return value.decode("ascii")
        return None

    def _signed(self, value: bytes) -> bool:
        """True if itsdangerous would find it signed; a form that is checked already needs but the HMAC."""
        signature = binascii.a2b_base64(value[_PAYLOAD + 1 :].translate(_URL_SAFE) + b"=")
        payload = value[:_PAYLOAD]
        return any(hmac.compare_digest(_mac(key.signed, payload), signature) for key in self._keys)

    # Records

    def seal_record(self, handle: str, plaintext: bytes, bound_to: bytes) -> str:
        """Seals under a key that takes both the server's key and the handle to derive."""
        key = self._keys[0]
        nonce = secrets.token_bytes(_NONCE_BYTES)
        cipher = AESGCM(_record_key(key, handle))
        return (
            f"{_FORMAT}.{key.kid}.{encode(nonce + cipher.encrypt(nonce, plaintext, key.header + bound_to))}"
        )

    def open_record(self, handle: str, sealed: str, bound_to: bytes) -> bytes | None:
        """Undoes `seal_record`; None if anything at all is not as it was."""
        found = self._split(sealed)
        if found is None:
            return None
        key, data = found
        cipher = AESGCM(_record_key(key, handle))
        return _decrypt(cipher, data, key.header + bound_to)

    # Cookies

    def seal_cookie(self, purpose: bytes, plaintext: bytes) -> str:
        """Seals a short-lived cookie's content, under a fresh salt each time."""
        key = self._keys[0]
        salt, nonce = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_NONCE_BYTES)
        cipher = AESGCM(_derive(key.cookie, purpose, salt=salt))
        sealed = cipher.encrypt(nonce, plaintext, key.header + purpose)
        return f"{_FORMAT}.{key.kid}.{encode(salt + nonce + sealed)}"

    def open_cookie(self, purpose: bytes, value: str) -> bytes | None:
        """Undoes `seal_cookie` for the same purpose, else None."""
        found = self._split(value)
        if found is None:
            return None
        key, data = found
        cipher = AESGCM(_derive(key.cookie, purpose, salt=data[:_SALT_BYTES]))
        return _decrypt(cipher, data[_SALT_BYTES:], key.header + purpose)

    # Proofs

    def proof(self, purpose: bytes, value: str) -> str:
        """HMAC-SHA-256 of a value for one purpose: shows that its bearer knew the value."""
        return _proof(self._keys[0], purpose, value)

    def proves(self, purpose: bytes, value: str, proof: str) -> bool:
        """Returns True if `proof` was made here for this purpose and value; compared in constant time."""
        return self._matches(_proof, purpose, value, proof)

    def tag(self, purpose: bytes, value: str) -> str:
        """A short proof in decimal digits, some 60 bits: for what is only tried by asking this server."""
        return _tag(self._keys[0], purpose, value)

    def tagged(self, purpose: bytes, value: str, tag: str) -> bool:
        """True if `tag` was made here for this purpose and value; compared in constant time."""
        return self._matches(_tag, purpose, value, tag)

    def _matches(
        self, make: "Callable[[_ServerKey, bytes, str], str]", purpose: bytes, value: str, given: str
    ) -> bool:
        expected = given.encode("utf-8", "replace")
        return self._made(make, purpose, value, expected) or (
            self.ask() and self._made(make, purpose, value, expected)
        )

    def _made(
        self, make: "Callable[[_ServerKey, bytes, str], str]", purpose: bytes, value: str, expected: bytes
    ) -> bool:
        return any(hmac.compare_digest(make(key, purpose, value).encode(), expected) for key in self._keys)

    def _split(self, sealed: str) -> tuple[_ServerKey, bytes] | None:
        """Returns the key and the data of what is sealed, if it may be ours."""
        parts = sealed.split(".", 2)
        if len(parts) != _PARTS:
            return None
        version, kid, body = parts
        key = self._by_kid.get(kid)
        if key is None and version == _FORMAT and self.ask():
            key = self._by_kid.get(kid)
        data = decode(body)
        if version != _FORMAT or key is None or data is None:
            return None
        return key, data


def _decrypt(cipher: AESGCM, data: bytes, bound_to: bytes) -> bytes | None:
    try:
        return cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], bound_to)
    except (InvalidTag, ValueError):
        return None


def _proof(key: _ServerKey, purpose: bytes, value: str) -> str:
    return encode(_mac(key.proof, purpose + b"\x00" + value.encode()))


def _tag(key: _ServerKey, purpose: bytes, value: str) -> str:
    digest = _mac(key.proof, purpose + b"\x00" + value.encode())
    return str(int.from_bytes(digest[:8]) % _MODULUS).zfill(_TAG_DIGITS)
