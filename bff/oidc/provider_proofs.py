"""The proofs that go to the provider, and the nonces that it asks for (RFC 9449 8).

Rule 1: the newest nonce of a server is used, whichever of its answers brought it. Few servers are remembered.
Rule 2: a refusal for the nonce's sake is answered once, with the nonce that came with it: the server looks at
the proof before it spends anything. A server that goes on asking has refused.
"""

import secrets
from collections.abc import Callable
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from bff.oidc.dpop import ProofKey, without_query
from bff.oidc.http import Answer
from bff.oidc.token_errors import ABOUT_PROOF, parse_error_code
from bff.policy.dpop_challenge import usable_nonce

MOST_SERVERS: Final = 8
"""A provider's endpoints are at one or two."""

_UNAUTHORIZED = 401


class Proof(NamedTuple):
    """A proof for one request, and the nonce in it."""

    text: str
    nonce: str


class ProviderProofs:
    """The proofs for one provider. `clock` gives seconds since the epoch."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._nonces: dict[str, str] = {}  # by scheme and authority

    def made(self, key: ProofKey, method: str, url: str, token: str | None = None) -> Proof:
        """Returns a proof for one request, with the `token` that it carries, if any."""
        nonce = self._nonces.get(_server(url), "")
        ath = None if token is None else token.encode("ascii")
        jti, url = secrets.token_urlsafe(16), without_query(url)
        text = key.proof(method, url, now=self._clock(), jti=jti, token=ath, nonce=nonce)
        return Proof(text.decode("ascii"), nonce)

    def note(self, url: str, answer: Answer) -> str:
        """Remembers the nonce of an answer, and returns it; empty if there is none."""
        nonce = usable_nonce(answer.headers.get("dpop-nonce", "").encode("utf-8", "replace"))
        if nonce:
            server = _server(url)
            if server not in self._nonces and len(self._nonces) >= MOST_SERVERS:
                self._nonces.clear()
            self._nonces[server] = nonce
        return nonce

    def to_repeat(self, url: str, answer: Answer, sent: Proof) -> bool:
        """Notes an answer; returns True if it refused the proof, and brought a nonce that was not in it."""
        nonce = self.note(url, answer)
        return bool(nonce) and nonce != sent.nonce and _refuses_proof(answer)


def _refuses_proof(answer: Answer) -> bool:
    if parse_error_code(answer.json()) in ABOUT_PROOF:
        return True
    challenge = answer.headers.get("www-authenticate", "")
    return answer.status == _UNAUTHORIZED and any(code in challenge for code in ABOUT_PROOF)


def _server(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
