"""The tokens that the proxy has in its own name (RFC 6749 4.4): one for each grant, in all processes.

Rule 1: one process fetches, under a lock in Redis, and keeps what it got there; the others take that. Where
Redis is out of reach each process fetches for itself, once for all its calls.
Rule 2: a token is fetched anew beside the calls, before it ends. A call waits only where no token is good.
Rule 3: a failure takes no good token away. Nobody asks again at once: not after a refusal, and not where the
provider cannot be reached.
Rule 4: a token that a backend has refused is not taken from Redis again.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Final

from bff.errors import ProviderUnavailableError, StoreUnavailableError
from bff.observe.logs import get_logger
from bff.oidc.client import OidcClient
from bff.oidc.http import AnswerLostError
from bff.oidc.requests import ClientGrant
from bff.oidc.token_errors import GrantRefusedError, InvalidGrant
from bff.oidc.token_response import TokenAnswer
from bff.refresh.circuit_breaker import CircuitBreaker, SessionBackoff
from bff.session.client_token_store import ClientTokenStore
from bff.session.invalidation_feed import steady_now
from bff.session.model import OwnToken
from bff.settings.model import ProviderSettings, RefreshSettings
from bff.tasks import Tasks

UNSTATED: Final = 60.0
"""Seconds for which a token is used whose answer names no end."""

_LEEWAY_SHARE = 0.25  # of a token's life, at most, before its end: then it is fetched anew
_ON_THE_WAY, _ON_THE_WAY_SHARE = 1.0, 0.1  # seconds before its end, and share of its life: too old to be sent
_LOOK_EVERY = 0.1  # seconds, while another process fetches
_SHORTEST_REST = 1.0  # seconds between two tries beside the calls
_log = get_logger("bff.refresh")


@dataclass(frozen=True, slots=True)
class NoToken:
    """An outcome: there is no token at the moment."""

    retry_after: float | None = None


def last_moment(token: OwnToken) -> float:
    """Returns the last moment to send a token, in seconds since the epoch."""
    ends = _end(token)
    return ends - min(_ON_THE_WAY, _ON_THE_WAY_SHARE * (ends - token.obtained_at))


def renewed_from(token: OwnToken, leeway: float) -> float:
    """Returns from when a token is fetched anew beside the calls, in seconds since the epoch."""
    ends = _end(token)
    return ends - min(leeway, _LEEWAY_SHARE * (ends - token.obtained_at))


def _end(token: OwnToken) -> float:
    ends = token.expires_at
    return token.obtained_at + UNSTATED if ends is None or ends <= token.obtained_at else ends


def name_of(provider: ProviderSettings, grant: ClientGrant) -> str:
    """Returns the name of a grant's token in Redis: it tells nothing, and holds nothing of a user."""
    whose = [provider.name, provider.issuer, provider.client_id]
    what = [list(grant.scopes), list(grant.resource), grant.audience]
    if provider.over_dpop():  # bound tokens are others
        what.append("dpop")
    return hashlib.sha256(json.dumps([whose, what]).encode()).hexdigest()[:32]


class ClientTokens:
    """The tokens of one process, by their grants. `clock` gives seconds since the epoch."""

    def __init__(
        self,
        *,
        client: OidcClient,
        store: ClientTokenStore,
        tasks: Tasks,
        settings: RefreshSettings,
        clock: Callable[[], float],
    ) -> None:
        self.client = client
        self.store = store
        self.tasks = tasks
        self.settings = settings
        self.clock = clock
        self.circuit = CircuitBreaker(clock, lambda _: None)
        self.refused = SessionBackoff(clock)
        self._by_grant: dict[ClientGrant, ClientToken] = {}

    def of(self, scopes: Iterable[str], resource: Iterable[str], audience: str | None) -> "ClientToken":
        """Returns the token of a grant, the same object for the same grant."""
        grant = ClientGrant(tuple(scopes), tuple(resource), audience)
        return self._by_grant.setdefault(grant, ClientToken(self, grant))


class ClientToken:
    """The token of one grant."""

    def __init__(self, owner: ClientTokens, grant: ClientGrant) -> None:
        self._owner = owner
        self._grant = grant
        provider = owner.client.settings
        self._name = name_of(provider, grant)
        self._token: OwnToken | None = None
        self._bad = ""  # the token that a backend has refused
        self._flight: asyncio.Task[OwnToken | NoToken] | None = None
        self._rests_until = 0.0

    def at_hand(self) -> OwnToken | None:
        """Returns the token, if there is a good one; another is fetched beside the calls if due."""
        token, now = self._token, self._owner.clock()
        if token is None or now >= last_moment(token):
            return None
        if now >= renewed_from(token, self._owner.settings.leeway) and now >= self._rests_until:
            self._start()
        return token

    async def get(self) -> OwnToken | NoToken:
        """Returns the token, after a wait where it has to be fetched first."""
        return self.at_hand() or await self._fetched()

    async def replace(self, refused: str) -> OwnToken | NoToken:
        """Returns another token than the one that a backend has refused, if there is one to be had."""
        if self._token is not None and self._token.access_token == refused:
            self._token, self._bad = None, refused
        return await self.get()

    async def _fetched(self) -> OwnToken | NoToken:
        try:
            async with asyncio.timeout(self._owner.settings.timeout):
                return await asyncio.shield(self._start())
        except TimeoutError:
            return NoToken()

    def _start(self) -> "asyncio.Task[OwnToken | NoToken]":
        """Returns the fetch that is under way, or begins one; it is no call's child."""
        if self._flight is None:
            self._flight = self._owner.tasks.spawn(self._fly(), name="client token")
            self._flight.add_done_callback(self._landed)
        return self._flight

    def _landed(self, flight: "asyncio.Task[OwnToken | NoToken]") -> None:
        self._flight = None
        if flight.cancelled() or flight.exception() is not None:
            return
        outcome = flight.result()
        if isinstance(outcome, NoToken):
            self._rests_until = self._owner.clock() + max(_SHORTEST_REST, outcome.retry_after or 0.0)

    async def _fly(self) -> OwnToken | NoToken:
        """Takes the token that another process has kept, or fetches one."""
        lock, give_up = self._owner.store.lock(self._name), steady_now() + self._owner.settings.timeout
        while steady_now() < give_up:
            async with AsyncExitStack() as held:
                try:
                    taken = await self._shared() or await lock.take()
                except StoreUnavailableError:
                    taken = True
                else:
                    if isinstance(taken, OwnToken):
                        return taken
                    if taken:
                        held.push_async_callback(lock.release)
                        prolonging = self._owner.tasks.spawn(lock.prolong(), name="lock of a client token")
                        held.callback(prolonging.cancel)
                if taken:
                    return await self._another() or await self._ask()
            await asyncio.sleep(_LOOK_EVERY)
        return NoToken()

    async def _another(self) -> OwnToken | None:
        """Looks once more, under the lock: its former holder may have kept a token."""
        with suppress(StoreUnavailableError):
            return await self._shared()
        return None

    async def _shared(self) -> OwnToken | None:
        """Takes the token in Redis: a fresh one, or where none is at hand any that is good."""
        token, now = await self._owner.store.load(self._name), self._owner.clock()
        if token is None or token.access_token == self._bad or now >= last_moment(token):
            return None
        has_one = self._token is not None and now < last_moment(self._token)
        if has_one and now >= renewed_from(token, self._owner.settings.leeway):
            return None
        self._token = token
        return token

    async def _ask(self) -> OwnToken | NoToken:
        owner = self._owner
        permit = None if (wait := owner.refused.left(self._name)) else owner.circuit.permit(self._name)
        if permit is None:
            return self._without(wait or owner.circuit.left())
        with permit:
            try:
                answer = await owner.client.client_token(self._grant)
            except GrantRefusedError as refused:
                permit.answered()
                return self._refused(refused.retry_after)
            except AnswerLostError:
                permit.lost()
                owner.refused.begin(self._name, None)
                return self._without(owner.refused.left(self._name))
            except ProviderUnavailableError as failure:
                permit.failed(failure.retry_after)
                return self._without(owner.circuit.left())
            permit.answered()
        return self._refused(None) if isinstance(answer, InvalidGrant) else await self._keep(answer)

    def _refused(self, retry_after: float | None) -> NoToken:
        grant = self._grant
        self._owner.refused.begin(self._name, retry_after)
        _log.error(
            "client_token_refused",
            provider=self._owner.client.settings.name,
            scopes=grant.scopes,
            resource=grant.resource,
            audience=grant.audience,
        )
        return self._without(self._owner.refused.left(self._name))

    def _without(self, wait: float) -> NoToken:
        return NoToken(wait or None)

    async def _keep(self, answer: TokenAnswer) -> OwnToken:
        owner = self._owner
        token = OwnToken(
            answer.access_token, answer.obtained_at, answer.access_expires_at, proof_key=answer.proof_key
        )
        self._token = token
        owner.refused.forget(self._name)
        lifetime = last_moment(token) - owner.clock()
        try:
            if lifetime > 0:
                await owner.store.keep(self._name, token, lifetime=lifetime)
        except StoreUnavailableError:
            _log.warning("client_token_not_kept")
        return token
