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
from collections.abc import Callable
from typing import Final, Literal

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bff.errors import Problem, ProviderUnavailableError, StoreUnavailableError
from bff.observe.logs import audit, get_logger
from bff.oidc.client import OidcClient
from bff.oidc.id_token import MAX_ID_TOKEN
from bff.oidc.security_event import MAX_AGE, Signal
from bff.oidc.signed_event import Reason, SignedEventRejectedError
from bff.oidc.transmitter import Transmitter
from bff.session.model import EndReason
from bff.session.sessions import Sessions
from bff.settings.model import ServerSettings
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

    def __init__(self, *, client: OidcClient, sessions: Sessions, server: ServerSettings) -> None:
        self._settings = client.settings
        self._transmitter = client.transmitter
        self._sessions = sessions
        self._trusted = server.trusted_proxies

    def routes(self) -> list[Route]:
        """Its route."""
        if self._transmitter is None:
            return []
        return [Route(SHARED_SIGNALS, self._receiver(self._transmitter), methods=["POST"])]

    def _receiver(self, transmitter: Transmitter) -> Callable[[Request], object]:
        async def receive(request: Request) -> Response:
            token = await body_of(request, "application/secevent+jwt", MAX_ID_TOKEN)  # RFC 8935 2.1
            if token is None:
                return self._refused(request, "malformed")
            try:
                signal = await transmitter.read(token.strip())
                await self._take(request, signal)
            except SignedEventRejectedError as rejected:
                return self._refused(request, rejected.reason)
            except StoreUnavailableError:
                return problem_answer(Problem.STORE_UNAVAILABLE)
            except ProviderUnavailableError as failure:
                return problem_answer(Problem.PROVIDER_UNAVAILABLE, retry_after=failure.retry_after)
            return Response(b"", 202, NO_STORE)

        return receive

    async def _take(self, request: Request, signal: Signal) -> None:
        ignored = signal.ignored
        if ignored is None and signal.event not in self._settings.signals_events:
            ignored = "event"
        if ignored is not None:
            _log.info("security_signal_ignored", signal=signal.event, reason=ignored)
            return
        guard = hashlib.sha256(f"{self._settings.signals_issuer} {signal.jti}".encode()).hexdigest()
        if await self._sessions.is_claimed(_GUARD, guard):
            return  # Rule 1
        name, reason = self._settings.name, EndReason.SECURITY_SIGNAL
        ended = await self._sessions.end_all(name, sub=signal.sub, sid=signal.sid, reason=reason)
        await self._sessions.keep_claim(_GUARD, guard, MAX_AGE + 2 * self._settings.clock_skew)
        audit(
            "security_signal_taken",
            sub=signal.sub,
            sid=signal.sid,
            reason=signal.event,
            sessions=ended,
            address=address_of(request, self._trusted),
        )

    def _refused(self, request: Request, reason: Reason | Literal["malformed"]) -> Response:
        audit("security_signal_rejected", address=address_of(request, self._trusted), reason=reason)
        told = {
            "err": _ERRORS.get(reason, "invalid_request"),
            "description": f"The security event token is not accepted: {reason}.",
        }
        return JSONResponse(told, 400, {**NO_STORE, "content-language": "en"})
