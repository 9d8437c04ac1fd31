"""The token exchange (RFC 8693) for routes whose backend gets a token of its own.

The token is got in exchange for the session's, kept in the session's record, sealed as its tokens are, and
ends with them: a rotation drops it, and the next call gets another one in exchange for the new token; a
sign-out revokes it (`bff/web/logout.py`).

Rule 1: one exchange at a time for a session and an audience in a process; it is no request's child. First it
reads the session again: another call or process may have kept a token since.
Rule 2: a refusal rests: that session and audience are not asked for again at once; nor is anybody where the
provider cannot be reached.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from bff.credentials.backend_token import last_moment, shown
from bff.errors import ProviderUnavailableError, StoreUnavailableError
from bff.observe.logs import get_logger
from bff.oidc.client import OidcClient
from bff.oidc.http import AnswerLostError
from bff.oidc.refusals import BadRequestError, GrantRefusedError, InvalidGrant
from bff.oidc.tokens import TokenAnswer
from bff.refresh.circuit_breaker import CircuitBreaker, SessionBackoff
from bff.session.model import Found, OwnToken, Session
from bff.session.sessions import NoSession, Sessions
from bff.session.store import Write
from bff.tasks import Tasks

_log = get_logger("bff.audience")


@dataclass(frozen=True, slots=True)
class Unusable:
    """An outcome: the provider does not take the session's token in exchange."""


@dataclass(frozen=True, slots=True)
class NotNow:
    """An outcome: the provider gives no token at the moment."""

    retry_after: float


class Exchanger(Protocol):
    """The part of an exchanger that credentials know."""

    async def exchange(self, found: Found, audience: str) -> OwnToken | Unusable | NotNow:
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
        self._flights: dict[tuple[str, int, str], asyncio.Task[OwnToken | Unusable | NotNow]] = {}

    async def exchange(self, found: Found, audience: str) -> OwnToken | Unusable | NotNow:
        """Gets a token for a backend, or waits for the exchange that is under way."""
        session = found.session
        name = (session.key, session.version, audience)
        flight = self._flights.get(name)
        if flight is None:
            flight = self._tasks.spawn(self._fly(found, audience), name=f"exchange {session.id}")
            self._flights[name] = flight
            flight.add_done_callback(lambda _: self._flights.pop(name, None))
        return await asyncio.shield(flight)

    async def _fly(self, found: Found, audience: str) -> OwnToken | Unusable | NotNow:
        kept = await self._kept(found, audience)
        if kept is not None:
            return kept
        token = await self._ask(found.session, audience)
        if isinstance(token, OwnToken):
            session = found.session
            try:
                written = await self._sessions.keep_exchanged(found.handle, session.version, audience, token)
            except StoreUnavailableError:
                _log.warning("exchanged_token_not_kept", session=session.id)
            else:
                if written is Write.GONE:  # it ended meanwhile, and nobody else knows of this token
                    revoking = self._client.revoke(token.access_token, "access_token")
                    self._tasks.spawn(revoking, name=f"revoke {session.id}")
        return token

    async def _kept(self, found: Found, audience: str) -> OwnToken | None:
        """The token that was kept since the caller read the session, by a call before or another process."""
        try:
            current = await self._sessions.open(found.handle)
        except StoreUnavailableError:
            return None
        if isinstance(current, NoSession) or current.session.version != found.session.version:
            return None
        token = current.session.exchanged.get(audience)
        if token is None or token == found.session.exchanged.get(audience):
            return None
        ends = last_moment(shown(current, token).session)
        return token if ends is None or self._clock() < ends else None

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
    """Returns the token of an answer; where that names no end, it ends with the session's token."""
    ends = answer.access_expires_at
    return OwnToken(
        answer.access_token,
        answer.obtained_at,
        session.tokens.access_expires_at if ends is None else ends,
        bound=answer.proof_key is not None,
    )


class ExchangeByProvider:
    """The exchangers of several providers, by name: a session's token is exchanged where it comes from."""

    def __init__(self, exchangers: Mapping[str, TokenExchanger]) -> None:
        self._exchangers = exchangers

    async def exchange(self, found: Found, audience: str) -> OwnToken | Unusable | NotNow:
        """Gets a token for a backend; a session of another provider is over, and gets none."""
        exchanger = self._exchangers.get(found.session.provider)
        return Unusable() if exchanger is None else await exchanger.exchange(found, audience)


def exchanger_of(clients: Iterable[OidcClient], **parts: Any) -> Exchanger:
    """Returns the exchanger of the only provider, or of all."""
    made = {client.settings.name: TokenExchanger(client=client, **parts) for client in clients}
    return ExchangeByProvider(made) if len(made) > 1 else next(iter(made.values()))
