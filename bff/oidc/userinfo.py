"""The userinfo endpoint (OpenID Connect Core 5.3): claims that an ID token does not carry.

It is asked at a sign-in; at a refresh only where it always is, or where a rule or a header asks for a claim
that the refreshed ID token lacks.

Rule 1: the answer counts only if its `sub` is the ID token's (5.3.2); what the ID token says is not
changed by it, and what serves the protocol is not taken from it.
Rule 2: a failure is logged, and fails no sign-in and no refresh; `Told.complete` says that there was one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from bff.errors import ProviderUnavailableError
from bff.observe.dependency_metrics import ProviderCall, Watched
from bff.observe.logs import get_logger
from bff.oidc.dpop import ProofKey
from bff.oidc.http import Answer, ProviderHttp
from bff.oidc.id_token import MAX_ID_TOKEN, Claims, finite
from bff.oidc.metadata import Metadata
from bff.oidc.provider_proofs import ProviderProofs
from bff.policy.claim_rules import claim_at
from bff.policy.public_claims import PROTOCOL_CLAIMS
from bff.settings.model import ProviderSettings

TIMEOUT = 5.0
"""Seconds that a sign-in waits for it."""

REFRESH_TIMEOUT = 2.0
"""Seconds that a refresh waits for it: the new tokens exist nowhere else meanwhile."""

WANTED = ("name", "email")
"""Claims that a page is likely to want, where the settings name none."""

_NOT_TAKEN = PROTOCOL_CLAIMS | {"acr", "amr", "auth_time"}
_OK = 200
_log = get_logger("bff.oidc")


class Told(NamedTuple):
    """The claims of a user; not `complete` where the endpoint was to be asked, and gave no good answer."""

    claims: Claims
    complete: bool = True


class Userinfo:
    """The endpoint of one provider. `needed` are the claims that rules and headers ask for."""

    def __init__(
        self,
        settings: ProviderSettings,
        wire: ProviderHttp,
        metadata: Callable[[], Awaitable[Metadata]],
        watched: Watched[ProviderCall],
        needed: Collection[str] = (),
        *,
        proofs: ProviderProofs,
    ) -> None:
        self._needed = needed
        self._proofs = proofs
        self._settings = settings
        self._wire = wire
        self._metadata = metadata
        self._watched = watched

    async def completed(self, claims: Claims, access_token: str, proof_key: str | None = None) -> Told:
        """Returns the claims of an ID token, and those beside them that the endpoint tells."""
        if not is_wanted(claims, self._settings, self._needed):
            return Told(claims)
        return await self._asked(claims, access_token, proof_key, TIMEOUT)

    async def refreshed(
        self, claims: Claims | None, sub: str, access_token: str, proof_key: str | None = None
    ) -> Claims | None:
        """Returns the claims of a refresh, and those beside them that the endpoint tells; None for none.

        `claims` are those of its ID token, None without one. A needed claim that a good answer lacks is null.
        """
        known: Claims = claims or {"sub": sub}
        how, lacking = self._settings.userinfo, missing(known, self._needed)
        if how == "never" or not (how == "always" or lacking):
            return claims
        told = await self._asked(known, access_token, proof_key, REFRESH_TIMEOUT)
        if not told.complete or told.claims is known:
            return claims
        return {**_gone(told.claims, missing(told.claims, self._needed)), **told.claims}

    async def _asked(self, claims: Claims, access_token: str, proof_key: str | None, patience: float) -> Told:
        try:
            async with asyncio.timeout(patience):
                endpoint = (await self._metadata()).userinfo_endpoint
                if endpoint is None:
                    return Told(claims)
                with self._watched("userinfo"):
                    answer = await self._got(endpoint, access_token, proof_key)
        except (ProviderUnavailableError, TimeoutError) as error:
            _log.warning("userinfo_failed", problem=str(error) or "the provider did not answer in time")
            return Told(claims, complete=False)
        if answer.status != _OK or len(answer.body) > MAX_ID_TOKEN:
            _log.warning("userinfo_failed", status=answer.status, bytes=len(answer.body))
            return Told(claims, complete=False)
        told = merged(claims, answer.json(finite))
        if told is None:
            _log.warning("userinfo_refused", problem="it is no JSON object, or tells of another sub")
            return Told(claims, complete=False)
        return Told(told)

    async def _got(self, endpoint: str, access_token: str, proof_key: str | None) -> Answer:
        """Asks with the token; one that is bound goes with a proof, and once more with a newer nonce."""
        if proof_key is None:
            return await self._wire.get(endpoint, headers={"authorization": f"Bearer {access_token}"})
        key, bound = ProofKey(proof_key), {"authorization": f"DPoP {access_token}"}
        proof = self._proofs.made(key, "GET", endpoint, access_token)
        answer = await self._wire.get(endpoint, headers={**bound, "dpop": proof.text})
        if not self._proofs.to_repeat(endpoint, answer, proof):
            return answer
        proof = self._proofs.made(key, "GET", endpoint, access_token)
        return await self._wire.get(endpoint, headers={**bound, "dpop": proof.text})


def missing(claims: Claims, names: Iterable[str]) -> list[str]:
    """Returns the names of which an ID token has no claim, and the endpoint may have one."""
    return [name for name in names if name not in _NOT_TAKEN and claim_at(claims, name) is None]


def _gone(claims: Claims, names: Collection[str]) -> Claims:
    """Returns null for each of these names; for a claim's member (`realm_access.roles`) for the claim too."""
    tops = {name.partition(".")[0] for name in names}
    return dict.fromkeys([*names, *tops.difference(claims)])


def is_wanted(claims: Claims, settings: ProviderSettings, needed: Iterable[str] = ()) -> bool:
    """Returns True if the endpoint is to be asked, by the setting and by what the ID token lacks."""
    if settings.userinfo == "auto":
        wanted = WANTED if settings.claims is None else settings.claims
        return bool(missing(claims, [*wanted, *needed]))
    return settings.userinfo == "always"


def merged(claims: Claims, document: Any) -> Claims | None:
    """Both together, the ID token first; None if the document is of somebody else."""
    if not isinstance(document, Mapping) or document.get("sub") != claims["sub"]:
        return None
    told = {name: value for name, value in document.items() if name not in _NOT_TAKEN and value is not None}
    return {
        **told,
        **{name: value for name, value in claims.items() if value is not None or name not in told},
    }
