"""POST /bff/events/ssf: the provider says that a session, a credential or an account is no longer good.

A receiver of OpenID Shared Signals by push (SSF 1.0, RFC 8935, CAEP, RISC). Nothing here comes from a
browser, and nothing is believed but what the transmitter has signed.

Rule 1: a token acts once. Its `jti` is noted when all is done, so that the transmitter may try again what a
failing store kept us from; one that comes again after that is answered as before (RFC 8935 2), and does
nothing. Two that come at once end the same sessions.
Rule 2: the end is noted before the sessions are looked for, so that a sign-in that is under way finds the
note (T-15).
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final, Literal

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bff.errors import Problem, ProviderUnavailableError, StoreUnavailableError
from bff.observe.logs import audit, get_logger
from bff.oidc.client import OidcClient
from bff.oidc.id_token import MAX_ID_TOKEN
from bff.oidc.security_event import MAX_AGE, Signal
from bff.oidc.signed_event import Reason, SignedEventRejectedError, stated_issuer
from bff.oidc.transmitter import Transmitter
from bff.session.model import EndReason
from bff.session.sessions import Sessions
from bff.settings.model import ProviderSettings, ServerSettings
from bff.web.query import body_of
from bff.web.responses import NO_STORE, address_of, problem_answer

SHARED_SIGNALS: Final = "/bff/events/ssf"
_GUARD = "security_event"
_ERRORS: Final[dict[str, str]] = {
    "signature": "invalid_key",
    "unknown_key": "invalid_key",
    "iss": "invalid_issuer",
    "aud": "invalid_audience",
}
"""The error codes of RFC 8935 2.4; for all others it is `invalid_request`."""

_log = get_logger("bff.web")


class SharedSignalsEndpoint:
    """The endpoint; without `provider.signals_issuer` it is not there."""

    def __init__(
        self, *, providers: Iterable[OidcClient], sessions: Sessions, server: ServerSettings
    ) -> None:
        self._transmitters = [
            (each.settings, each.transmitter) for each in providers if each.transmitter is not None
        ]
        self._sessions = sessions
        self._trusted = server.trusted_proxies

    def routes(self) -> list[Route]:
        """Returns the route of the endpoint."""
        if not self._transmitters:
            return []
        return [Route(SHARED_SIGNALS, self.receive, methods=["POST"])]

    async def receive(self, request: Request) -> Response:
        """Takes an event: 202, or 400 for a token that is not to be believed.

        One transmitter may speak for several providers: each takes the event by its own audience.
        """
        token = await body_of(request, "application/secevent+jwt", MAX_ID_TOKEN)  # RFC 8935 2.1
        if token is None:
            return self._refused(request, "malformed")
        reason: Reason = "iss"
        taken = False
        try:
            for settings, transmitter in self._meant(token.strip()):
                try:
                    signal = await transmitter.read(token.strip())
                except SignedEventRejectedError as rejected:
                    reason = rejected.reason
                    continue
                await self._take(request, settings, signal)
                taken = True
        except StoreUnavailableError:
            return problem_answer(Problem.STORE_UNAVAILABLE)
        except ProviderUnavailableError as failure:
            return problem_answer(Problem.PROVIDER_UNAVAILABLE, retry_after=failure.retry_after)
        return Response(b"", 202, NO_STORE) if taken else self._refused(request, reason)

    def _meant(self, token: str) -> Sequence[tuple[ProviderSettings, Transmitter]]:
        """The transmitters that a token can be of, by the issuer that it states; the only one anyway."""
        if len(self._transmitters) == 1:
            return self._transmitters
        issuer = stated_issuer(token)
        return [each for each in self._transmitters if each[0].signals_issuer == issuer]

    async def _take(self, request: Request, settings: ProviderSettings, signal: Signal) -> None:
        ignored = signal.ignored
        if ignored is None and signal.event not in settings.signals_events:
            ignored = "event"
        if ignored is not None:
            _log.info("security_signal_ignored", signal=signal.event, reason=ignored)
            return
        # For each provider by itself: another frontend may take the same token for another one.
        named = f"{settings.name} {settings.signals_issuer} {signal.jti}"
        guard = hashlib.sha256(named.encode()).hexdigest()
        if await self._sessions.one_time.is_claimed(_GUARD, guard):
            return  # Rule 1
        name, reason = settings.name, EndReason.SECURITY_SIGNAL
        ended = await self._sessions.bulk.end_all(name, sub=signal.sub, sid=signal.sid, reason=reason)
        await self._sessions.one_time.swap(_GUARD, guard, "1", lifetime=MAX_AGE + 2 * settings.clock_skew)
        audit(
            "security_signal_taken",
            sub=signal.sub,
            sid=signal.sid,
            reason=signal.event,
            sessions=ended,
            address=address_of(request, self._trusted),
            frontend=self._sessions.frontend,
            provider=settings.name,
        )

    def _refused(self, request: Request, reason: Reason | Literal["malformed"]) -> Response:
        where = {"address": address_of(request, self._trusted), "frontend": self._sessions.frontend}
        audit("security_signal_rejected", **where, reason=reason)
        told = {
            "err": _ERRORS.get(reason, "invalid_request"),
            "description": f"The security event token is not accepted: {reason}.",
        }
        return JSONResponse(told, 400, {**NO_STORE, "content-language": "en"})
