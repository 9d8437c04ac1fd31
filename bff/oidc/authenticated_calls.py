"""Calls that show the provider who we are, by another means where the first one is refused.

Rule 1: only `invalid_client` and a refused proof of possession are reasons to send a form again: client and
proof are looked at before a grant is (RFC 6749 3.2.1, RFC 9449 8), so that nothing was spent.
Rule 2: each means is tried once for a call; where all are refused, a newer one is asked for once.
Rule 3: a success, and a refusal of what is looked at behind the client, say that the provider knows a means.
A failure (429, 5xx) may come from a server that has looked at nothing: the former means serves on.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from bff.observe.logs import get_logger
from bff.oidc.client_authentication import Authentication, Credentials
from bff.oidc.dpop import ProofKey
from bff.oidc.http import PLAIN, Answer, ProviderHttp, Sending
from bff.oidc.metadata import Metadata
from bff.oidc.provider_proofs import ProviderProofs
from bff.oidc.requests import Client, Form
from bff.oidc.token_errors import parse_error_code

_OK = range(200, 300)
_BEHIND_THE_CLIENT = frozenset({"invalid_grant", "invalid_scope", "invalid_target", "unauthorized_client"})

_log = get_logger("bff.oidc")


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer, its document, and the request that it answers."""

    answer: Answer
    document: Any
    client: Client
    form: Form


class AuthenticatedCalls:
    """The calls to one provider.

    Attributes:
        ask: called where every means is refused; True if a newer one is there.
    """

    def __init__(self, wire: ProviderHttp, authentication: Authentication, proofs: ProviderProofs) -> None:
        self._wire = wire
        self._proofs = proofs
        self._authentication = authentication
        self.ask: Callable[[], bool] = lambda: False

    def thumbprints(self) -> set[str]:
        """Returns those of the certificates that calls may show, as `ProviderHttp` does."""
        return self._wire.thumbprints()

    async def post(
        self,
        url: str,
        metadata: Metadata,
        form: Callable[[Client], Form],
        sending: Sending = PLAIN,
        *,
        key: ProofKey | None = None,
    ) -> Answered:
        """Sends a form as the client that we are, with a proof by the `key`, if there is one.

        Raises as `ProviderHttp.post` does.
        """
        proven = False  # anew, with a nonce that the provider asked for
        tried: list[Credentials] = []
        means = self._authentication.means[0]
        while True:
            client = self._authentication.client(metadata, means)
            filled = form(client)
            proof = None if key is None else self._proofs.made(key, "POST", url)
            sent = (
                filled if proof is None else replace(filled, headers={**filled.headers, "dpop": proof.text})
            )
            answer = await self._wire.post(url, sent, sending)
            document = answer.json()
            if proof is None:
                self._proofs.note(url, answer)
            elif self._proofs.to_repeat(url, answer, proof) and not proven:
                proven = True
                continue
            code = parse_error_code(document)
            if code != "invalid_client":
                if answer.status in _OK or code in _BEHIND_THE_CLIENT:
                    self._accepted(means, tried)
                return Answered(answer, document, client, filled)
            tried.append(means)
            other = self._untried(tried) or (self._untried(tried) if self.ask() else None)
            if other is None:
                return Answered(answer, document, client, filled)
            means = other

    def _untried(self, tried: list[Credentials]) -> Credentials | None:
        return next((means for means in self._authentication.means if means not in tried), None)

    def _accepted(self, means: Credentials, refused: list[Credentials]) -> None:
        if refused and not self._authentication.is_newest(means):
            _log.warning(
                "new_client_credentials_refused",
                detail="the provider accepts the former secret or key, which is used on",
                fix="make the new one known to the provider",
            )
        self._authentication.accepted(means, refused)
