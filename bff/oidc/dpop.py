"""Proofs of possession (RFC 9449): a key for each session, and the JWT that it signs for one request.

The moment and the `jti` of a proof are arguments; a signature's own randomness is the library's.

Rule 1: a key's text is a secret: it stays out of `repr`, logs, and Redis unless it is sealed there.
Rule 2: the header of a proof is the same for all of a key, and is made once.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii
from typing import Final, Literal
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    derive_private_key,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from bff.crypto import decode, encode

ProofAlg = Literal["ES256", "EdDSA"]
HALF: Final = 32
"""Bytes of a coordinate, of a half of a signature, and of a private key, of either kind."""

_CURVE, _ECDSA = SECP256R1(), ECDSA(SHA256())


class ProofKey:
    """A session's private key, ready to sign; ValueError if a text is none that `new_key` made.

    Attributes:
        jkt: the thumbprint of the public key (RFC 7638), as `dpop_jkt` and `cnf` name it.
    """

    __slots__ = ("_ec", "_ed", "_head", "jkt")

    def __init__(self, text: str) -> None:
        alg, _, rest = text.partition(".")
        raw = decode(rest)
        if raw is None or len(raw) != HALF:
            raise ValueError("no key of a session")
        self._ec: EllipticCurvePrivateKey | None = None
        self._ed: Ed25519PrivateKey | None = None
        if alg == "ES256":
            self._ec = derive_private_key(int.from_bytes(raw), _CURVE)
            point = self._ec.public_key().public_numbers()
            x, y = (encode(number.to_bytes(HALF)) for number in (point.x, point.y))
            public = {"crv": "P-256", "kty": "EC", "x": x, "y": y}
        elif alg == "EdDSA":
            self._ed = Ed25519PrivateKey.from_private_bytes(raw)
            public = {"crv": "Ed25519", "kty": "OKP", "x": encode(self._ed.public_key().public_bytes_raw())}
        else:
            raise ValueError("no key of a session")
        self.jkt = encode(hashlib.sha256(_json(public)).digest())
        header = {"typ": "dpop+jwt", "alg": alg, "jwk": public}
        self._head = encode(_json(header)).encode("ascii") + b"."

    def proof(
        self, method: str, url: str, *, now: float, jti: str, token: bytes | None = None, nonce: str = ""
    ) -> bytes:
        """Returns the proof for one request (RFC 9449 4.2).

        Args:
            method: the request's method.
            url: the request's URL, without query and fragment.
            now: seconds since the epoch.
            jti: a name that no other proof has.
            token: the access token that goes with the request, if one does.
            nonce: the server's newest, or none.
        """
        more = "" if token is None else f',"ath":"{encode(hashlib.sha256(token).digest())}"'
        if nonce:
            more += f',"nonce":"{nonce}"'
        claims = (
            f'{{"jti":"{jti}","htm":"{method}","htu":{encode_basestring_ascii(url)},"iat":{int(now)}{more}}}'
        )
        signed = self._head + base64.urlsafe_b64encode(claims.encode("ascii")).rstrip(b"=")
        return signed + b"." + base64.urlsafe_b64encode(self._signature(signed)).rstrip(b"=")

    def _signature(self, signed: bytes) -> bytes:
        if self._ed is not None:
            return self._ed.sign(signed)
        assert self._ec is not None
        r, s = decode_dss_signature(self._ec.sign(signed, _ECDSA))
        return r.to_bytes(HALF) + s.to_bytes(HALF)  # RFC 7518 3.4


def new_key(alg: ProofAlg) -> str:
    """Makes the key of a new session, as text for its sealed record."""
    if alg == "EdDSA":
        return f"{alg}.{encode(Ed25519PrivateKey.generate().private_bytes_raw())}"
    number = generate_private_key(_CURVE).private_numbers().private_value
    return f"{alg}.{encode(number.to_bytes(HALF))}"


def thumbprint_of(text: str) -> str:
    """Returns the thumbprint of a key by its text."""
    return ProofKey(text).jkt


def without_query(url: str) -> str:
    """Returns the URL of an endpoint as a proof names it (`htu`, RFC 9449 4.2)."""
    return urlsplit(url)._replace(query="", fragment="").geturl()


def _json(members: Mapping[str, object]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode("ascii")
