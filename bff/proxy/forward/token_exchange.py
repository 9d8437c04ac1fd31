"""The token exchange (RFC 8693) for routes whose backend gets a token of its own.

The token is got in exchange for the session's, kept in the session's record, sealed as its tokens are, and
ends with them: a rotation drops it, and the next call gets another one in exchange for the new token; a
sign-out revokes it (`bff/web/logout.py`).

Rule 1: a token for somebody else is never sent instead: without its own the call does not go out.
Rule 2: one exchange at a time for a session and an audience in a process; it is no request's child. First it
reads the session again: another call or process may have kept a token since.
Rule 3: a refusal rests: that session and audience are not asked for again at once; nor is anybody where the
provider cannot be reached.
Rule 4: the session of a call (`OwnFound`) shows the backend's token in place of the session's, and holds
no refresh token: nothing could rotate by it or write it down.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NamedTuple, Protocol

from bff.errors import Problem, ProviderUnavailableError, StoreUnavailableError
from bff.observe.logs import get_logger
from bff.oidc.client import OidcClient
from bff.oidc.http import AnswerLostError
from bff.oidc.refusals import BadRequestError, GrantRefusedError, InvalidGrant
from bff.oidc.tokens import TokenAnswer
from bff.proxy.forward.credentials import Anonymous, Credentials, Ready, Refused, Signed, without
from bff.refresh.circuit_breaker import CircuitBreaker, SessionBackoff
from bff.session.cached_session import CachedSession
from bff.session.model import Found, OwnToken, Session
from bff.session.sessions import NoSession, Sessions
from bff.session.store import Write
from bff.session.token_policy import PassOn, Refresh, plan_after_401
from bff.tasks import Tasks

_ON_THE_WAY: Final = 1.0
"""Seconds before its end from which a token is too old to be sent; at most a tenth of its life."""

_log = get_logger("bff.audience")


@dataclass(frozen=True, slots=True)
class OwnFound(Found):
    """A session with one backend's token in place of its own; `whole` is the session itself."""

    whole: Found


class OwnReady(NamedTuple):
    """A session whose next call to one backend needs nothing but that backend's token."""

    token: bytes
    found: OwnFound
    lines: bytes = b""

    @property
    def key(self) -> str:
        """The session's key."""
        return self.found.session.key

    @property
    def proof_key(self) -> bytes:
        """The text of the key that the token is bound to; empty for a bearer token."""
        return (self.found.session.tokens.proof_key or "").encode()


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
        ends = _last_moment(shown(current, token).session)
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


class AudienceCredentials(Credentials):
    """The credentials of one backend's calls; the other arguments are those of `Credentials`."""

    def __init__(self, audience: str, exchanger: Exchanger, **common: Any) -> None:
        super().__init__(**common)
        self._audience = audience
        self._exchanger = exchanger

    def at_hand(self, cookie_headers: Sequence[bytes]) -> Signed | None:
        """Returns the credential as for every route, where the backend's token is at hand too."""
        signed = super().at_hand(cookie_headers)
        own = None if signed is None else self._own(signed.found)
        return None if own is None else Signed(own)

    def ready(self, cookie: bytes) -> Ready | None:
        """Returns the session as for every route, with the backend's own token; None without one."""
        cached = self._sessions.near(cookie)
        own = None if cached is None else self._own(cached.found)
        if own is None:
            return None
        packed = CachedSession.of(own.handle, own.session, self.quiet_until(own))
        return None if self.quiet(packed) is None else OwnReady(packed.token, own)

    def reader(self, cookie: bytes) -> None:
        """Returns None: each call asks `obtain`, which gets the backend's token."""

    def quiet_until(self, found: Found) -> float:
        """Returns the earlier one of the session's own moment and the end of the backend's token."""
        if not isinstance(found, OwnFound):
            return super().quiet_until(found)
        quiet, ends = super().quiet_until(found.whole), _last_moment(found.session)
        return quiet if ends is None else min(quiet, ends)

    async def obtain(
        self, cookie_headers: Sequence[bytes], *, address: str, required: bool = True
    ) -> Signed | Anonymous | Refused:
        """Finds the credential of a new call, with the backend's own token."""
        credential = await super().obtain(cookie_headers, address=address, required=required)
        if not isinstance(credential, Signed):
            return credential
        own = await self._exchanged(credential.found)
        return without(own, required=required)

    def over(self, credential: Signed | Anonymous) -> bool:
        """Returns true if the session's token or the backend's own has ended."""
        if not isinstance(credential, Signed):
            return False
        ends = _last_moment(credential.found.session)
        return super().over(credential) or (ends is not None and self.clock() >= ends)

    async def again(self, signed: Signed, *, required: bool) -> Signed | Anonymous | Refused:
        """Decides anew as for every route, with the backend's own token."""
        found = signed.found.whole if isinstance(signed.found, OwnFound) else signed.found
        credential = await super().again(Signed(found), required=required)
        if not isinstance(credential, Signed):
            return credential
        return without(await self._exchanged(credential.found), required=required)

    async def renew(
        self, signed: Signed, *, invalid_token: bool, mode: Literal["any", "invalid_token", "never"]
    ) -> Signed | PassOn | Refused:
        """Decides after a backend's 401; newer tokens of the session are exchanged again."""
        renewed = await super().renew(signed, invalid_token=invalid_token, mode=mode)
        return await self._exchanged(renewed.found) if isinstance(renewed, Signed) else renewed

    async def _exchanged(self, found: Found) -> Signed | Refused:
        """Returns the backend's token; renews a session's token that is not taken in exchange, once."""
        outcome = self._own(found) or await self._exchange(found)
        if isinstance(outcome, Unusable):
            renewed = await self._renewed(found)
            if not isinstance(renewed, Signed):
                return renewed
            outcome = await self._exchange(renewed.found)
        match outcome:
            case Unusable():
                return Refused(Problem.PROVIDER_UNAVAILABLE)
            case NotNow(retry_after):
                return Refused(Problem.PROVIDER_UNAVAILABLE, retry_after=retry_after or None)
        return Signed(outcome)

    async def _exchange(self, found: Found) -> Found | Unusable | NotNow:
        token = await self._exchanger.exchange(found, self._audience)
        return shown(found, token) if isinstance(token, OwnToken) else token

    async def _renewed(self, found: Found) -> Signed | Refused:
        """Returns the session with newer tokens, if the present ones are old enough to be the reason."""
        session = found.session
        step = plan_after_401(
            session,
            self.clock(),
            sent_version=session.version,
            invalid_token=True,
            mode="any",
            settings=self._refresh_settings,
        )
        if not isinstance(step, Refresh):
            return Refused(Problem.PROVIDER_UNAVAILABLE)
        return await self._rotate(found, step.cause, or_else=None)

    def _own(self, found: Found) -> OwnFound | None:
        token = found.session.exchanged.get(self._audience)
        if token is None:
            return None
        own = shown(found, token)
        ends = _last_moment(own.session)
        return own if ends is None or self.clock() < ends else None


def _own_token(answer: TokenAnswer, session: Session) -> OwnToken:
    """Returns the token of an answer; where that names no end, it ends with the session's token."""
    ends = answer.access_expires_at
    return OwnToken(
        answer.access_token,
        answer.obtained_at,
        session.tokens.access_expires_at if ends is None else ends,
        bound=answer.proof_key is not None,
    )


def shown(found: Found, token: OwnToken) -> OwnFound:
    """Returns a session with one backend's token in place of its own, and no other."""
    session = found.session
    tokens = replace(
        session.tokens,
        access_token=token.access_token,
        obtained_at=token.obtained_at,
        access_expires_at=token.expires_at,
        refresh_token=None,
        id_token=None,
        proof_key=session.tokens.proof_key if token.bound else None,
    )
    return OwnFound(found.handle, replace(session, tokens=tokens, exchanged={}), found)


def _last_moment(session: Session) -> float | None:
    """Returns the last moment to send the backend's token, in seconds since the epoch, if it has an end."""
    ends = session.tokens.access_expires_at
    if ends is None:
        return None
    return ends - min(_ON_THE_WAY, 0.1 * max(0.0, ends - session.tokens.obtained_at))


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


def by_audience(
    audiences: Iterable[str], exchanger: Exchanger, **common: Any
) -> dict[str | None, Credentials]:
    """Returns the credentials for each audience, and those without one under None."""
    found: dict[str | None, Credentials] = {None: Credentials(**common)}
    found.update((audience, AudienceCredentials(audience, exchanger, **common)) for audience in audiences)
    return found
