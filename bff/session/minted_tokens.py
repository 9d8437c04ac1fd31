"""The tokens that the proxy mints for backends (RFC 9068), signed by keys that come of its server keys.

Rule 1: a signing key is derived from a server key and lives with it: it is published while its server key
stands in the file, until that one's time has passed. One that comes while the process runs signs after `LEAD`
at the earliest: by then whoever keeps our keys has asked anew. Where no other is left it signs at once.
Rule 2: a token is for one session and one route: it holds the claims that the route names, never a token of
the provider's, and ends with the session at the latest.
Rule 3: tokens are kept in this process alone, bounded in number. They go when the keys change.
"""

import math
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from bff.crypto import Keyring
from bff.session.minted_claims import Content, claims_of
from bff.session.model import OwnToken, Session

ALGORITHM: Final = "ES256"
LEAD: Final = 60.0
"""Seconds for which anybody may keep our public keys."""

MOST_KEPT: Final = 8192
"""Tokens that a process keeps; one with few claims takes a kilobyte."""

# Of P-256 (FIPS 186-5, SP 800-186).
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
# Seconds before its end, and share of its life, from which the next one is minted.
_EARLY, _EARLY_SHARE = 10.0, 0.25


def signing_key(seed: bytes) -> ECKey:
    """Returns the key that comes of a seed of more bits than the order (FIPS 186-5 A.2.1)."""
    private = ec.derive_private_key(int.from_bytes(seed) % (_ORDER - 1) + 1, ec.SECP256R1())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key = ECKey.import_key(pem)
    return ECKey.import_key({**key.as_dict(private=True), "kid": key.thumbprint()})


class MintingKeys:
    """The signing keys of a key ring, which they follow. `clock` gives seconds since the epoch."""

    def __init__(self, keyring: Keyring, clock: Callable[[], float]) -> None:
        self._keyring = keyring
        self._clock = clock
        self._since = dict.fromkeys(keyring.minting, -math.inf)  # when each was published
        self._seeds: tuple[bytes, ...] = ()
        self._keys: list[ECKey] = []

    @property
    def era(self) -> object:
        """The present keys' identity: another object after each change."""
        return self._keyring.minting

    def signer(self) -> ECKey:
        """Returns the key that signs."""
        keys, now = self._current(), self._clock()
        published = zip(keys, self._seeds, strict=True)
        return next((key for key, seed in published if now - self._since[seed] >= LEAD), keys[0])

    def published(self) -> dict[str, Any]:
        """Returns the key set: public halves of the keys that sign, will sign, or did."""
        public = [
            ECKey.import_key({**key.as_dict(private=False), "use": "sig", "alg": ALGORITHM})
            for key in self._current()
        ]
        return {**KeySet(list(public)).as_dict(private=False)}

    def _current(self) -> list[ECKey]:
        seeds = self._keyring.minting
        if seeds != self._seeds:
            self._keys = [signing_key(seed) for seed in seeds]
            self._since = {seed: self._since.get(seed, self._clock()) for seed in seeds}
            self._seeds = seeds
        return self._keys


@dataclass(frozen=True, slots=True)
class _Kept:
    token: OwnToken
    until: float  # from then on the next one is minted


class Mint:
    """The minted tokens of a process. `clock` gives seconds since the epoch.

    `thumbprint` gives that of a session's key (RFC 7638), by its text.
    """

    def __init__(
        self, keys: MintingKeys, clock: Callable[[], float], thumbprint: Callable[[str], str]
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._thumbprint = thumbprint
        self._kept: OrderedDict[tuple[str, int, Content], _Kept] = OrderedDict()
        self._era = keys.era

    def at_hand(self, content: Content, key: str, version: int) -> OwnToken | None:
        """Returns the token of a session, by its key and version, if there is one with enough time left."""
        if self._era is not self._keys.era:
            self._era = self._keys.era
            self._kept.clear()
        kept = self._kept.get((key, version, content))
        return None if kept is None or self._clock() >= kept.until else kept.token

    def token(self, content: Content, session: Session, *, refused: str | None = None) -> OwnToken:
        """Returns the token of a session: a new one if none is at hand, or a backend has `refused` it."""
        token = self.at_hand(content, session.key, session.version)
        if token is None or token.access_token == refused:
            token = self._minted(content, session)
        return token

    def _minted(self, content: Content, session: Session) -> OwnToken:
        now = self._clock()
        key = session.tokens.proof_key if content.bound else None
        jkt = None if key is None else self._thumbprint(key)
        claims = claims_of(content, session, now, secrets.token_urlsafe(16), jkt)
        text = self._signed(claims)
        token = OwnToken(text, now, float(claims["exp"]), bound=jkt is not None)
        life = claims["exp"] - now
        name = (session.key, session.version, content)
        self._kept.pop(name, None)
        self._kept[name] = _Kept(token, claims["exp"] - min(_EARLY, _EARLY_SHARE * life))
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return token

    def _signed(self, claims: Mapping[str, Any]) -> str:
        key = self._keys.signer()
        header = {"alg": ALGORITHM, "kid": key.kid, "typ": "at+jwt"}
        return jwt.encode(header, dict(claims), key, [ALGORITHM])
