"""Device-bound sessions (W3C DBSC): a browser's proof of its key, and the words of the answers. Pure.

The browser makes a key pair at sign-in and registers the public one (`Secure-Session-Registration` is the
invitation). From then on it renews a short cookie by signing a challenge: a JWT of type `dbsc+jwt` in
`Secure-Session-Response`, with the challenge as its `jti`. As Chromium does it, the header of a registration
holds the public key (`jwk`), that of a renewal holds none, and `aud` comes in newer ones only.

Rule 1: nothing is believed of a proof before its signature holds, by the key that it is to prove; its
challenge is read before, so that garbage costs no signature check.
Rule 2: two algorithms, both with a public key, and the key has to be one for it (RFC 8725 3.1).
"""

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry
from joserfc.jws import CompactSignature, JWSRegistry, extract_compact, validate_compact

REGISTRATION: Final = "secure-session-registration"
CHALLENGE: Final = "secure-session-challenge"
RESPONSES: Final = ("secure-session-response", "sec-session-response")
"""The field with a proof, by its name now and by that of the trials."""

SESSION_IDS: Final = ("sec-secure-session-id", "sec-session-id")
"""The field that names the session to renew, likewise."""

MAX_PROOF: Final = 4096
_MOST_DIGITS = 1024  # of an RSA modulus in base64url: some 6,000 bits
_LEAST_DIGITS = 342  # 2,048 bits
_MEMBERS: Final = {"ES256": ("EC", ("crv", "kty", "x", "y")), "RS256": ("RSA", ("e", "kty", "n"))}

Reason = Literal[
    "malformed",
    "algorithm",
    "key",
    "signature",
    "audience",
    "challenge",  # from here on: told by those who know the session
    "session",
    "another_key",
]


class ProofRefusedError(Exception):
    """A proof that proves nothing. `reason` is for the log."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof whose signature nobody has checked yet.

    Attributes:
        challenge: the challenge that it answers.
        audience: the URL that it is for, where it says so.
        key: the public key in its header, as `verify` takes it.
    """

    challenge: str
    audience: Any
    key: str | None
    alg: str
    parsed: CompactSignature


def parse_proof(value: str) -> Proof:
    """Reads the value of a response field; raises ProofRefusedError."""
    token = value.strip(' "')
    if len(token) > MAX_PROOF or not token.isascii():
        raise ProofRefusedError("malformed")
    registry = JWSRegistry(strict_check_header=False)  # unknown fields are ignored (RFC 7515 4)
    registry.max_header_length = MAX_PROOF
    try:
        parsed = extract_compact(token.encode(), registry=registry)
        header: Any = parsed.headers()
        payload: Any = json.loads(parsed.payload or b"")
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ProofRefusedError("malformed") from None
    if not isinstance(header, dict) or not isinstance(payload, dict) or "crit" in header:
        raise ProofRefusedError("malformed")
    challenge, alg = payload.get("jti"), header.get("alg")
    if header.get("typ") != "dbsc+jwt" or not isinstance(challenge, str):
        raise ProofRefusedError("malformed")
    if not isinstance(alg, str) or alg not in _MEMBERS:
        raise ProofRefusedError("algorithm")
    key = None if "jwk" not in header else _public_key(header["jwk"], alg)
    return Proof(challenge, payload.get("aud"), key, alg, parsed)


def _public_key(jwk: Any, alg: str) -> str:
    """The canonical text of a public key; only one that fits the algorithm, and no private one, is read."""
    kind, members = _MEMBERS[alg]
    if not isinstance(jwk, dict) or jwk.get("kty") != kind or "d" in jwk:
        raise ProofRefusedError("key")
    part = {name: jwk.get(name) for name in members}
    if not all(isinstance(value, str) and value.isascii() for value in part.values()):
        raise ProofRefusedError("key")
    if jwk.get("crv", "P-256") != "P-256":
        raise ProofRefusedError("key")
    if kind == "RSA" and not _LEAST_DIGITS <= len(str(part["n"])) <= _MOST_DIGITS:
        raise ProofRefusedError("key")
    return json.dumps(part, separators=(",", ":"))


def verify(proof: Proof, key: str, url: str) -> None:
    """Checks that the holder of `key` made the proof, for the endpoint at `url`; raises ProofRefusedError.

    `key` is as `parse_proof` gives it. A proof without an audience is for no other endpoint either: its
    challenge is ours.
    """
    if proof.audience not in (None, url):
        raise ProofRefusedError("audience")
    registry = JWSRegistry(algorithms=[proof.alg], strict_check_header=False)
    try:
        imported = JWKRegistry.import_key(json.loads(key))
        registry.get_alg(proof.alg).check_key(imported)
    except (JoseError, ValueError, TypeError, KeyError):
        raise ProofRefusedError("key") from None
    good = False
    with suppress(JoseError, ValueError):  # a signature that cannot even be read
        good = validate_compact(proof.parsed, imported, registry=registry)
    if not good:
        raise ProofRefusedError("signature")


def registration(path: str, challenge: str) -> str:
    """The field by which the browser is invited to register a key."""
    return f'(ES256 RS256);path="{path}";challenge="{challenge}"'


def challenge_for(session: str, challenge: str) -> str:
    """The field with the next challenge of a session."""
    return f'"{challenge}";id="{session}"'


def instructions(
    session: str, *, origin: str, base_path: str, cookie: str, attributes: str
) -> dict[str, Any]:
    """The description of a bound session for its browser: scope, cookie, and where to renew that."""
    own = base_path + "/bff/dbsc/"
    return {
        "session_identifier": session,
        "refresh_url": own + "refresh",
        "scope": {
            "origin": origin,
            "include_site": False,
            "scope_specification": [{"type": "exclude", "domain": urlsplit(origin).hostname, "path": own}],
        },
        "credentials": [{"type": "cookie", "name": cookie, "attributes": attributes}],
    }


def over(session: str) -> dict[str, Any]:
    """The word to a browser that a bound session is no more."""
    return {"session_identifier": session, "continue": False}
