"""The proofs that go to backends, each for one call (RFC 9449 7), and the nonces that backends ask for (9).

Rule 1: a proof goes with a token that is bound to the session's key, and with no other.
Rule 2: a proof names the URL as the backend sees it: the scheme and host that it is spoken to by, and the
path that it is asked for, without the query.
Rule 3: the newest nonce of a backend is used, whichever of its answers brought it, on whichever route.
"""

import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

from bff.oidc.dpop import ProofKey
from bff.policy.dpop_challenge import given_nonce, refuses_proof, usable_nonce
from bff.policy.fields import Header
from bff.policy.routes import Route, Upstream
from bff.settings.model import ProviderSettings

MOST_KEYS: Final = 8192
"""Keys that a process keeps ready, of some two kilobytes each; the oldest goes first."""

_UNAUTHORIZED = 401


class ProofKeys:
    """The keys of sessions, ready to sign: reading one takes as long as a signature."""

    def __init__(self, most: int = MOST_KEYS) -> None:
        self._most = most
        self._keys: dict[bytes, ProofKey] = {}

    def of(self, text: bytes) -> ProofKey:
        """Returns the key of this text."""
        key = self._keys.get(text)
        if key is None:
            key = ProofKey(text.decode("ascii"))
            if len(self._keys) >= self._most:
                del self._keys[next(iter(self._keys))]
            self._keys[text] = key
        return key


class NewestNonce:
    """The newest nonce of one backend; empty until it has given one."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = ""


class BackendProofs:
    """The proofs for one route's backend. `clock` gives seconds since the epoch."""

    def __init__(
        self, upstream: Upstream, keys: ProofKeys, nonce: NewestNonce, clock: Callable[[], float]
    ) -> None:
        self._origin = f"{upstream.scheme}://{upstream.host_header.decode('ascii')}"
        self._keys = keys
        self._nonce = nonce
        self._clock = clock

    def proof(self, key: bytes, token: bytes, method: bytes, target: bytes) -> bytes:
        """Returns the proof for a call with this token; `key` is the text of the session's key."""
        return self._keys.of(key).proof(
            method.decode("ascii"),
            self._origin + target.decode("ascii"),
            now=self._clock(),
            jti=secrets.token_urlsafe(16),
            token=token,
            nonce=self._nonce.value,
        )

    def fields(self, key: bytes, token: bytes, method: bytes, target: bytes) -> list[Header]:
        """Returns the fields that carry a bound token and its proof."""
        return [(b"authorization", b"DPoP " + token), (b"dpop", self.proof(key, token, method, target))]

    def take(self, value: bytes) -> None:
        """Takes the value of a `DPoP-Nonce` field."""
        self._nonce.value = usable_nonce(value) or self._nonce.value

    def answered(self, status: int, headers: Sequence[Header]) -> Literal["repeat", "refused"] | None:
        """Takes the nonce of an answer; tells a 401 for the proof's sake, which that nonce may heal."""
        nonce = given_nonce(headers)
        if nonce:
            self._nonce.value = nonce
        if status != _UNAUTHORIZED or not refuses_proof(headers):
            return None
        return "repeat" if nonce else "refused"


class ProofSource:
    """The keys that are ready, and the newest nonce of each backend; whatever settings come after these."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._keys = ProofKeys()
        self._nonces: dict[Upstream, NewestNonce] = {}

    def for_routes(
        self, routes: Iterable[Route], providers: Iterable[ProviderSettings]
    ) -> dict[bytes, BackendProofs]:
        """Returns the proofs of each route that sends them, by its path."""
        by_default = any(provider.over_dpop() for provider in providers)
        return {
            route.path: BackendProofs(
                route.upstream,
                self._keys,
                self._nonces.setdefault(route.upstream, NewestNonce()),
                self._clock,
            )
            for route in routes
            if route.settings.sends_proofs(by_default=by_default)
        }
