"""The token exchange (RFC 8693) for routes whose backend gets a token of its own, shared by calls that wait.

The token is got in exchange for the session's, kept in the session's record, sealed as its tokens are, and
ends with them: a rotation drops it, and the next call gets another one in exchange for the new token; a
sign-out revokes it (`bff/web/logout.py`).

Rule 1: one exchange at a time for a session and an audience in a process; it is no request's child. First it
reads the session again: another call or process may have kept a token since.
Rule 2: a refusal rests: that session and audience are not asked for again at once; nor is anybody where the
provider cannot be reached.
Rule 3: a token is used only once it is kept: then a sign-out knows of it. One that came too late, for former
tokens or for an ended session, or beside another process's, is given back, and no call goes out with it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from bff.credentials.session_for_backend import last_moment, shown
from bff.errors import Problem, ProviderUnavailableError, StoreUnavailableError
from bff.observe.logs import get_logger
from bff.oidc.client import OidcClient
from bff.oidc.http import AnswerLostError
from bff.oidc.token_errors import BadRequestError, GrantRefusedError, InvalidGrant
from bff.oidc.token_response import TokenAnswer
from bff.refresh.circuit_breaker import CircuitBreaker, SessionBackoff
from bff.session.model import Found, OwnToken, Session
from bff.session.sessions import NoSession, Sessions
from bff.session.store import Write
from bff.tasks import Tasks

T = TypeVar("T")

_TRIES = 5  # to write beside others who write tokens of the same session
_RETRY = 1.0  # seconds
_log = get_logger("bff.audience")


@dataclass(frozen=True, slots=True)
class Unusable:
    """An outcome: the provider does not take the session's token in exchange."""


@dataclass(frozen=True, slots=True)
class NotNow:
    """An outcome: there is no token at the moment; `problem` says whose matter that is."""

    retry_after: float
    problem: Problem = Problem.PROVIDER_UNAVAILABLE


@dataclass(frozen=True, slots=True)
class Changed:
    """An outcome: the session has newer tokens, or has ended, since the caller read it."""


Outcome = OwnToken | Unusable | NotNow | Changed


class Exchanger(Protocol):
    """The part of an exchanger that credentials know."""

    async def exchange(self, found: Found, audience: str) -> Outcome:
        """Gets a token for a backend, or waits for the exchange that is under way."""
        ...


class TokenExchanger:
    """The exchange of sessions' tokens for backends' tokens. `clock` gives seconds since the epoch."""

    def __init__(
        self, *, client: OidcClient, sessions: Sessions, tasks: Tasks, clock: Callable[[], float]
    ) -> None:
        self._client = client
        self._sessions = sessions
        self._tasks = tasks
        self._clock = clock
        self._circuit = CircuitBreaker(clock, lambda _: None)
        self._refused = SessionBackoff(clock)
        self._flights: dict[tuple[str, int, str], asyncio.Task[Outcome]] = {}

    async def exchange(self, found: Found, audience: str) -> Outcome:
        """Gets a token for a backend, or waits for the exchange that is under way."""
        session = found.session
        name = (session.key, session.version, audience)
        flight = self._flights.get(name)
        if flight is None:
            flight = self._tasks.spawn(self._fly(found, audience), name=f"exchange {session.id}")
            self._flights[name] = flight
            flight.add_done_callback(lambda _: self._flights.pop(name, None))
        return await asyncio.shield(flight)

    async def _fly(self, found: Found, audience: str) -> Outcome:
        try:
            standing = await self._stands(found, audience)
            if not isinstance(standing, Found):
                return standing
            token = await self._ask(found.session, audience)
            return await self._kept(found, audience, token) if isinstance(token, OwnToken) else token
        except StoreUnavailableError:  # a token that came is used by nobody
            _log.warning("exchanged_token_not_kept", session=found.session.id)
            return NotNow(0.0, Problem.STORE_UNAVAILABLE)

    async def _kept(self, found: Found, audience: str, token: OwnToken) -> Outcome:
        """Keeps a token; returns the one that counts then, which another process may have kept first."""
        for _ in range(_TRIES):
            current = await _insist(partial(self._stands, found, audience))
            if not isinstance(current, Found):  # ours, where only the answer to a write was lost
                if current != token:
                    self._give_back(token, found.session)
                return current
            keep = partial(self._sessions.keep_exchanged, current, audience, token)
            if await _insist(keep) is Write.REPLACED:
                return token
        self._give_back(token, found.session)
        return NotNow(_RETRY)

    async def _stands(self, found: Found, audience: str) -> Found | OwnToken | Changed:
        """Opens the session; returns the token that was kept since the caller read it, if there is one."""
        current = await self._sessions.open(found.handle)
        if isinstance(current, NoSession) or current.session.version != found.session.version:
            return Changed()
        token = current.session.exchanged.get(audience)
        if token is None or token == found.session.exchanged.get(audience):
            return current
        ends = last_moment(shown(current, token).session)
        return token if ends is None or self._clock() < ends else current

    def _give_back(self, token: OwnToken, session: Session) -> None:
        revoking = self._client.revoke(token.access_token, "access_token")
        self._tasks.spawn(revoking, name=f"revoke {session.id}")

    async def _ask(self, session: Session, audience: str) -> OwnToken | Unusable | NotNow:
        name = f"{session.key} {session.version} {audience}"
        permit = None if (wait := self._refused.left(name)) else self._circuit.permit(session.key)
        if permit is None:
            return NotNow(wait or self._circuit.left())
        with permit:
            try:
                tokens = session.tokens
                answer = await self._client.exchange_token(
                    tokens.access_token, audience, proof_key=tokens.proof_key
                )
            except GrantRefusedError as refused:
                permit.answered()
                self._refused.begin(name, refused.retry_after)
                _log.error("token_exchange_refused", session=session.id, audience=audience)
                unusable = isinstance(refused, BadRequestError)
                return Unusable() if unusable else NotNow(self._refused.left(name))
            except AnswerLostError:
                permit.lost()
                self._refused.begin(name, None)
                return NotNow(self._refused.left(name))
            except ProviderUnavailableError as failure:
                permit.failed(failure.retry_after)
                return NotNow(self._circuit.left())
            permit.answered()
        if isinstance(answer, InvalidGrant):
            self._refused.begin(name, None)
            return Unusable()
        return _own_token(answer, session)


def _own_token(answer: TokenAnswer, session: Session) -> OwnToken:
    """Returns the token of an answer; an end that is not stated, or cannot be meant, is the session's."""
    ends = answer.access_expires_at
    return OwnToken(
        answer.access_token,
        answer.obtained_at,
        session.tokens.access_expires_at if ends is None or ends <= answer.obtained_at else ends,
        bound=answer.proof_key is not None,
    )


async def _insist(work: Callable[[], Awaitable[T]]) -> T:
    """Tries once more where Redis did not answer; raises StoreUnavailableError if it does not then either."""
    with suppress(StoreUnavailableError):
        return await work()
    return await work()


class ExchangeByProvider:
    """The exchangers of several providers, by name: a session's token is exchanged where it comes from."""

    def __init__(self, exchangers: Mapping[str, TokenExchanger]) -> None:
        self._exchangers = exchangers

    async def exchange(self, found: Found, audience: str) -> Outcome:
        """Gets a token for a backend; a session of another provider is over, and gets none."""
        exchanger = self._exchangers.get(found.session.provider)
        return Unusable() if exchanger is None else await exchanger.exchange(found, audience)


def exchanger_of(clients: Iterable[OidcClient], **parts: Any) -> Exchanger:
    """Returns the exchanger of the only provider, or of all."""
    made = {client.settings.name: TokenExchanger(client=client, **parts) for client in clients}
    return ExchangeByProvider(made) if len(made) > 1 else next(iter(made.values()))
