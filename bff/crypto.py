"""Keys and what is made with them: handles, sealed records, sealed cookies, and proofs.

Rule 1: every use has a key of its own, derived by HKDF with its own label (RFC 5869). The key of a raw record
(format 2) is the HMAC of its handle, 256 random bits, by the key of that use.
Rule 2: the newest key makes, every key verifies and opens; so keys rotate without ending sessions.
Rule 3: one handle has one spelling: its signature is of the payload's characters, and is compared as the text
that signing makes. What has not the form of a handle asks for no newer keys.
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
_BEGIN = b"1."  # of what is sealed: format, key id, data, with points between them
_KID_DIGITS = 8
_HEADER_BYTES = len(_BEGIN) + _KID_DIGITS
_DATA_AT = _HEADER_BYTES + 1
_RAW = b"2"  # the format of a raw record: format, key id, data, without points
_RAW_HEADER_BYTES = len(_RAW) + _KID_DIGITS // 2
_RAW_TEXT = re.compile(r"2\.([0-9a-f]{8})\.")
_RECORD = b"record v1"
_RECORD_INFO = b"bff " + _RECORD + b"\x01"  # the first and only block that is expanded
_MODULUS = 10**_TAG_DIGITS
_PAYLOAD = 43  # characters of a handle before its signature, and of that
_HANDLE_BYTES = 2 * _PAYLOAD + 1
_LAST_OF_THREE = b"AEIMQUYcgkosw048"  # last characters of base64 whose two unused bits are zero
_URL_SAFE = bytes.maketrans(b"+/", b"-_")  # to base64url
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


def _raw_key(key: "_ServerKey", handle: str) -> bytes:
    """The key of one handle's raw record: one HMAC, where `_record_key` takes three times as much."""
    return _mac(key.record, handle.encode())


def packed_seal(sealed: str) -> bytes:
    """Returns what Redis holds of a sealed text: of format 2 the bytes themselves, a quarter less."""
    begin = _RAW_TEXT.match(sealed)
    if begin is not None and (data := decode(sealed[begin.end() :])):
        return _RAW + bytes.fromhex(begin[1]) + data
    return sealed.encode("utf-8", "replace")


def unpacked_seal(held: bytes) -> str:
    """Undoes `packed_seal`."""
    if not held.startswith(_RAW):
        return held.decode("utf-8", "replace")
    return f"2.{held[len(_RAW) : _RAW_HEADER_BYTES].hex()}.{encode(held[_RAW_HEADER_BYTES:])}"


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
    raw_header: bytes  # of raw records
    session: bytes
    record: HMAC  # makes the keys of raw records
    cookie: bytes
    proof: HMAC
    signing: bytes
    signed: HMAC  # the same, begun
    minting: bytes

    @classmethod
    def derived_from(cls, secret: bytes, scope: bytes) -> "_ServerKey":
        signing = _derive(secret, b"handle signature v1" + scope)
        kid = _derive(secret, b"key id v1").hex()[:_KID_DIGITS]
        return cls(
            kid=kid,
            header=f"{_FORMAT}.{kid}".encode(),
            raw_header=_RAW + bytes.fromhex(kid),
            session=_derive(secret, b"session v1" + scope),
            record=_begun(_derive(secret, b"record v2" + scope)),
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
        self._by_header = {header: key for key in self._keys for header in (key.header, key.raw_header)}
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
        if self._signed(value) or (_HANDLE.fullmatch(value) and self.ask() and self._signed(value)):
            return value.decode("ascii")
        return None

    def _signed(self, value: bytes) -> bool:
        """Returns True if a key of ours signs this payload by this very text.

        A payload that is signed has the form of one, since nothing else is ever signed with these keys.
        """
        if len(value) != _HANDLE_BYTES:
            return False
        payload, signature = value[:_PAYLOAD], value[_PAYLOAD:]
        for key in self._keys:
            text = binascii.b2a_base64(_mac(key.signed, payload), newline=False).translate(_URL_SAFE)
            if hmac.compare_digest(b"." + text[:_PAYLOAD], signature):
                return True
        return False

    # Records

    def seal_record(self, handle: str, plaintext: bytes, bound_to: bytes, *, raw: bool = False) -> str:
        """Seals under a key that takes both the server's key and the handle to derive.

        A `raw` one is of format 2, which earlier versions do not open: Redis is given bytes (`packed_seal`).
        """
        key = self._keys[0]
        nonce = secrets.token_bytes(_NONCE_BYTES)
        secret = _raw_key(key, handle) if raw else _record_key(key, handle)
        header = key.raw_header if raw else key.header
        data = nonce + AESGCM(secret).encrypt(nonce, plaintext, header + bound_to)
        return f"{_RAW.decode() if raw else _FORMAT}.{key.kid}.{encode(data)}"

    def open_record(self, handle: str, sealed: str, bound_to: bytes) -> bytes | None:
        """Undoes `seal_record`; None if anything at all is not as it was."""
        return self.open_record_bytes(handle, packed_seal(sealed), bound_to)

    def open_record_bytes(self, handle: str, sealed: bytes, bound_to: bytes) -> bytes | None:
        """Undoes `seal_record`, given what Redis has of it; None as `open_record`."""
        if sealed.startswith(_RAW):
            header = sealed[:_RAW_HEADER_BYTES]
            maker = self._maker(header)
            if maker is None:
                return None
            cipher = AESGCM(_raw_key(maker, handle))
            return _decrypt(cipher, sealed[_RAW_HEADER_BYTES:], header + bound_to)
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
        found = self._split(value.encode("utf-8", "replace"))
        if found is None:
            return None
        key, data = found
        cipher = AESGCM(_derive(key.cookie, purpose, salt=data[:_SALT_BYTES]))
        return _decrypt(cipher, data[_SALT_BYTES:], key.header + purpose)

    # Proofs

    def proof(self, purpose: bytes, value: str) -> str:
        """HMAC-SHA-256 of a value for one purpose: shows that its bearer knew the value."""
        return _proof(self._keys[0], _message(purpose, value.encode())).decode()

    def proves(self, purpose: bytes, value: str, proof: str) -> bool:
        """Returns True if `proof` was made here for this purpose and value; compared in constant time."""
        given = proof.encode("utf-8", "replace")
        return self._matches(_proof, _message(purpose, value.encode()), given)

    def tag(self, purpose: bytes, value: bytes) -> bytes:
        """A short proof in decimal digits, some 60 bits: for what is only tried by asking this server."""
        return _tag(self._keys[0], _message(purpose, value))

    def tagged(self, purpose: bytes, value: bytes, tag: bytes) -> bool:
        """True if `tag` was made here for this purpose and value; compared in constant time."""
        message = _message(purpose, value)
        if hmac.compare_digest(_tag(self._keys[0], message), tag):
            return True  # each read of a session asks, and the newest key has made nearly all of them
        return self._matches(_tag, message, tag)

    def _matches(self, make: "Callable[[_ServerKey, bytes], bytes]", message: bytes, given: bytes) -> bool:
        return self._made(make, message, given) or (self.ask() and self._made(make, message, given))

    def _made(self, make: "Callable[[_ServerKey, bytes], bytes]", message: bytes, given: bytes) -> bool:
        for key in self._keys:  # noqa: SIM110 - each read of a session asks, and `any` takes half as much again
            if hmac.compare_digest(make(key, message), given):
                return True
        return False

    def _split(self, sealed: bytes) -> tuple[_ServerKey, bytes] | None:
        """Returns the key and the data of what is sealed, if it may be ours."""
        if not sealed.startswith(_BEGIN) or sealed[_HEADER_BYTES:_DATA_AT] != b".":
            return None
        key = self._maker(sealed[:_HEADER_BYTES])
        data = decode(sealed[_DATA_AT:].decode("latin-1"))  # what is no ASCII is no base64 either
        return None if key is None or data is None else (key, data)

    def _maker(self, header: bytes) -> _ServerKey | None:
        """Returns the key that has sealed what begins so; it may be a newer one."""
        key = self._by_header.get(header)
        return self._by_header.get(header) if key is None and self.ask() else key


def _decrypt(cipher: AESGCM, data: bytes, bound_to: bytes) -> bytes | None:
    try:
        return cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], bound_to)
    except (InvalidTag, ValueError):
        return None


def _message(purpose: bytes, value: bytes) -> bytes:
    return b"%b\x00%b" % (purpose, value)


def _proof(key: _ServerKey, message: bytes) -> bytes:
    return encode(_mac(key.proof, message)).encode()


def _tag(key: _ServerKey, message: bytes) -> bytes:
    number = int.from_bytes(_mac(key.proof, message)[:8]) % _MODULUS
    return (b"%d" % (_MODULUS + number))[1:]  # with all its zeros
