"""GET /bff/login, /bff/callback and /bff/callback/finish: sign-in by authorization code.

Login seals its state into a cookie and sends the browser to the provider. The callback only
moves the provider's answer into that cookie, and lets the browser come back by itself: the next request is
same-site, so that the session cookie arrives with it, and the code is out of the address bar (O-16).
Finish does the rest; `session_start.py` turns the code into a session. `authorization_redirect.py` sends the
browser to the provider.

Rule 1: a state is used once, and is used up before its code is spent (O-02).
Rule 2: a sign-in that came to nothing is begun again by us once at most, and never after an OAuth error;
otherwise the browser lands on `return_to`, with `bff_error` in its query unless it is signed in (O-10).
Rule 3: every answer redirects, is the callback page, or is a problem; none holds a code, a token or a state.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Literal, assert_never

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bff.errors import Problem, ProviderUnavailableError, StoreUnavailableError
from bff.hooks import NO_HOOKS, SignIn
from bff.observe.metrics import Metrics
from bff.oidc.client import OidcClient
from bff.oidc.providers import Providers
from bff.oidc.token_errors import InvalidGrant
from bff.policy.return_to import check_return_to, error_code, login_params, named_details, with_error
from bff.policy.routes import RouteTable
from bff.session.device_bound_sessions import unproved
from bff.session.sessions import Found, NoSession, Sessions
from bff.settings.model import ServerSettings
from bff.web.authentication import unless_signed_in
from bff.web.authorization_redirect import AuthorizationRedirect
from bff.web.callback_page import (
    CALLBACK,
    FINISH,
    OWN_CALLBACK,
    another_answered,
    asked_for_own,
    callback_page,
)
from bff.web.endpoint_limits import EndpointLimits, too_many
from bff.web.failed_sign_ins import FailedSignIns
from bff.web.login_transaction import (
    Returned,
    Transaction,
    TransactionCookies,
    is_restarted,
    transaction_id,
)
from bff.web.provider_choice import ProviderChoice
from bff.web.query import query_of, stated_once
from bff.web.responses import (
    address_of,
    cookie_headers,
    no_navigation,
    not_allowed,
    problem_answer,
    provider_problem,
    provider_reason,
    redirect,
)
from bff.web.session_start import NoStart, NotAllowed, SessionStart
from bff.web.stored_codes import StoredCodes

_STEP_UP = ("step_up", "1")


class LoginEndpoints:
    """The three endpoints. `clock` gives seconds since the epoch."""

    def __init__(
        self,
        *,
        providers: Providers,
        sessions: Sessions,
        cookies: TransactionCookies,
        server: ServerSettings,
        table: RouteTable,
        limits: EndpointLimits,
        state_lifetime: float,
        metrics: Metrics,
        clock: Callable[[], float],
        admit: Callable[[SignIn], Awaitable[str | None]] = NO_HOOKS.refusal_of,
        home: str = "/",
    ) -> None:
        self._providers = providers
        self._choice = ProviderChoice(providers, base_path=server.base_path, page=server.choose_provider)
        self._sessions = sessions
        self._failures = FailedSignIns(
            providers=providers, sessions=sessions, metrics=metrics, trusted=server.trusted_proxies
        )
        self._starts = {
            client.settings.name: SessionStart(
                client=client,
                sessions=sessions,
                server=server,
                state_lifetime=state_lifetime,
                metrics=metrics,
                admit=admit,
                several=providers.several,
            )
            for client in providers
        }
        self._cookies = cookies
        self._redirect = AuthorizationRedirect(
            cookies=cookies, server=server, several=providers.several, metrics=metrics, clock=clock
        )
        self._codes = StoredCodes(cookies.keyring, sessions)
        self._trusted = server.trusted_proxies
        self._base_path = server.base_path
        self._table = table
        self._limits = limits
        self._state_lifetime = state_lifetime
        self._clock = clock
        self._home = home

    def routes(self) -> list[Route]:
        """The routes of all three; providers may have a callback of their own, or had one a moment ago."""
        return [
            Route("/bff/login", self.login, methods=["GET"]),
            Route(CALLBACK, self.callback, methods=["GET"]),
            Route(FINISH, self.finish, methods=["GET"]),
            Route(OWN_CALLBACK, self.callback, methods=["GET"]),
        ]

    async def login(self, request: Request) -> Response:
        """Sends the browser to the provider, and remembers where it is to come back to."""
        if (refusal := await self._refusal(request, "login")) is not None:
            return refusal
        query = query_of(request)
        wanted = [value for name, value in query if name == "return_to"] or [self._home]
        return_to = self._checked(wanted[0]) if len(wanted) == 1 else None
        if return_to is None:
            return problem_answer(Problem.BAD_RETURN_TO)
        client = await self._provider_of(request, query, return_to)
        if isinstance(client, Response):
            return client
        params = login_params(query, client.settings.login_params)
        details = named_details(query, client.settings.login_authorization_details)
        if params is None or details is None:
            return problem_answer(Problem.BAD_REQUEST, detail="A parameter of the sign-in is malformed.")
        params["authorization_details"] = details  # by its name: the text is in the settings
        try:
            return await self._redirect.send(request, client, return_to, params, step_up=_STEP_UP in query)
        except ProviderUnavailableError as failure:
            return provider_problem(failure)

    async def callback(self, request: Request) -> Response:
        """Moves the provider's answer into the transaction's cookie, and has the browser go on to finish."""
        if (refusal := await self._refusal(request, "callback")) is not None:
            return refusal
        now = self._clock()
        answer = stated_once(query_of(request))
        state = answer.get("state", "")
        under_way = [each for each in self._transactions(request) if each.id == transaction_id(state)]
        transaction = [*under_way, self._cookies.overdue(cookie_headers(request), now, state)][0]
        if transaction is None:
            # Without a cookie finish cannot know what only this query tells: that there must be no restart.
            may_retry = "error" not in answer and not is_restarted(state)
            return callback_page(self._base_path, retry=may_retry, set_cookies=[])
        try:
            returned = Returned.read(answer, now, request.path_params.get("provider", ""))
            cookies = await self._codes.with_answer(self._cookies, transaction, returned, now)
        except StoreUnavailableError:
            return problem_answer(Problem.STORE_UNAVAILABLE)
        return callback_page(self._base_path, retry=True, set_cookies=cookies)

    async def finish(self, request: Request) -> Response:
        """Ends the sign-in that has come back: a new session, or a reason why not."""
        if (refusal := no_navigation(request, self._address(request), self._sessions.frontend)) is not None:
            return refusal
        try:
            sent = cookie_headers(request)
            found = await unproved(self._sessions, sent, address=self._address(request))
            return await self._finish(request, found)
        except StoreUnavailableError:
            return problem_answer(Problem.STORE_UNAVAILABLE)
        except ProviderUnavailableError as failure:  # before a sign-in that is begun anew
            self._failures.note(request, None, reason=provider_reason(failure))
            return provider_problem(failure)

    async def _finish(self, request: Request, found: Found | NoSession) -> Response:
        returned = [
            (each.returned, each) for each in self._transactions(request) if each.returned is not None
        ]
        returned.sort(key=lambda pair: pair[0].at)
        for answer, transaction in returned:
            if transaction.done:
                continue
            try:
                response = await self._judge(request, transaction, answer, found)
            except ProviderUnavailableError as failure:
                self._failures.note(request, transaction, reason=provider_reason(failure))
                return provider_problem(failure)
            if response is not None:  # else another tab's finish has taken it
                return response
        return await self._stale(request, returned[0][1] if returned else None, found)

    async def _judge(
        self, request: Request, transaction: Transaction, answer: Returned, found: Found | NoSession
    ) -> Response | None:
        """Takes an answer if the provider that was asked gave it; None for one that is taken already."""
        client = self._client(transaction)
        # Before the state is used up: a failure here can be repeated.
        metadata = None if client is None else await client.metadata()
        if not await self._claim(transaction):
            return None
        if client is None or metadata is None:
            return self._failed(request, transaction, "provider_removed")
        several = self._providers.several
        own = asked_for_own(transaction, client.settings, several=several)
        another = another_answered(client.settings, metadata, answer, own=own, several=several)
        if another is not None:
            return self._failed(request, transaction, another)
        return await self._take(request, client, transaction, answer, found)

    async def _take(
        self,
        request: Request,
        client: OidcClient,
        transaction: Transaction,
        answer: Returned,
        found: Found | NoSession,
    ) -> Response:
        """Takes the answer of the provider that was asked; its state has just been used up."""
        if answer.error is not None:
            return self._failed(request, transaction, "oauth_error", answer.error)
        code = await self._codes.take(transaction.state) if answer.stored else answer.code
        if code is not None:
            return await self._complete(request, client, transaction, code, found)
        if answer.stored:
            return await self._stale(request, transaction, found)
        return self._failed(request, transaction, "code_missing")

    async def _complete(
        self,
        request: Request,
        client: OidcClient,
        transaction: Transaction,
        code: str,
        found: Found | NoSession,
    ) -> Response:
        landing, start = self._landing(transaction), self._starts[client.settings.name]
        outcome = await start.from_code(request, transaction, code, found, return_to=landing)
        match outcome:
            case Found():
                cookies, fields = self._sessions.begun(outcome)
                cookies += self._used_up(transaction)
                return redirect(303, landing, set_cookies=cookies, headers=fields)
            case InvalidGrant():
                return await self._stale(request, transaction, found)
            case NoStart():
                return self._failed(request, transaction, outcome.reason, outcome.error)
            case NotAllowed():
                return self._not_allowed(request, client, transaction, outcome.sub)
            case _:
                assert_never(outcome)

    async def _stale(
        self, request: Request, transaction: Transaction | None, found: Found | NoSession
    ) -> Response:
        """A callback that is repeated, too late, or none of ours (O-10)."""
        if isinstance(found, Found):
            return redirect(303, self._landing(transaction), set_cookies=self._used_up(transaction))
        if not self._may_restart(request, transaction):
            error = transaction.returned.error if transaction and transaction.returned else None
            return self._failed(request, transaction, "stale", error or "login_expired")
        if (refusal := await self._refusal(request, "login")) is not None:
            return refusal
        client = self._client(transaction)
        if client is None or (transaction is None and self._choice.page):
            return self._choice.asked([("return_to", self._landing(transaction))])
        params = {} if transaction is None else transaction.asked()
        self._failures.note(request, transaction, reason="stale", restarted=True)
        how = {"restarted": True, "step_up": transaction is not None and transaction.step_up}
        response = await self._redirect.send(request, client, self._landing(transaction), params, **how)
        if transaction is not None:
            response.headers.append("set-cookie", self._cookies.clear(transaction))
        return response

    def _may_restart(self, request: Request, transaction: Transaction | None) -> bool:
        if transaction is None:
            # A restarted one that came back and left no answer here: its cookie was refused by the browser.
            lost = any(each.restarted and not each.done for each in self._transactions(request))
            return not lost and request.query_params.get("retry") != "no"
        failed = transaction.returned is not None and transaction.returned.error is not None
        return not failed and not transaction.restarted

    def _failed(
        self, request: Request, transaction: Transaction | None, reason: str, error: str = "login_failed"
    ) -> Response:
        """Lands on `return_to` with a code for the page (O-12). The reason is for the audit log."""
        self._failures.note(request, transaction, reason=reason, error=error_code(error))
        landing = with_error(self._landing(transaction), error)
        return redirect(303, landing, set_cookies=self._used_up(transaction))

    def _not_allowed(
        self, request: Request, client: OidcClient, transaction: Transaction, sub: str
    ) -> Response:
        """Says so on a page; the page of the application could only begin the same sign-in again."""
        self._failures.note(request, transaction, reason="not_allowed", sub=sub)
        another, cookies = "prompt" in client.settings.login_params, self._used_up(transaction)
        named = client.settings.name if self._providers.several else None
        return not_allowed(request, another_account=another, provider=named, set_cookies=cookies)

    def _client(self, transaction: Transaction | None) -> OidcClient | None:
        """The provider of a sign-in under way; None if it is no longer one of ours."""
        if transaction is None or not transaction.provider:
            return self._providers.default
        return self._providers.get(transaction.provider)

    async def _provider_of(
        self, request: Request, query: Sequence[tuple[str, str]], return_to: str
    ) -> OidcClient | Response:
        """The provider of a sign-in; or the answer in its place, as where somebody is signed in already."""
        if ("unless", "signed_in") in query:
            answer = await unless_signed_in(request, self._sessions, return_to, self._address(request))
            if answer is not None:
                return answer
        return self._choice.of(query, await self._of_session(request) if _STEP_UP in query else None)

    async def _of_session(self, request: Request) -> OidcClient | None:
        """The provider of the session that a step-up goes on with."""
        if not self._providers.several:
            return None
        with suppress(StoreUnavailableError):
            sent = cookie_headers(request)
            found = await unproved(self._sessions, sent, address=self._address(request))
            return None if isinstance(found, NoSession) else self._providers.get(found.session.provider)
        return None

    def _used_up(self, transaction: Transaction | None) -> list[str]:
        done = None if transaction is None else self._cookies.store(transaction.finished(), self._clock())
        return [] if done is None else [done]

    async def _claim(self, transaction: Transaction) -> bool:
        value = hashlib.sha256(transaction.state.encode()).hexdigest()
        return await self._sessions.one_time.claim("state", value, lifetime=self._state_lifetime)

    def _transactions(self, request: Request) -> list[Transaction]:
        return self._cookies.read(cookie_headers(request), self._clock())

    def _landing(self, transaction: Transaction | None) -> str:
        """The page to go to in the end, checked again: the routes may have changed since."""
        return (self._checked(transaction.return_to) if transaction else None) or self._home

    def _checked(self, return_to: str) -> str | None:
        return check_return_to(return_to, self._table.covers)

    async def _refusal(self, request: Request, what: Literal["login", "callback"]) -> Response | None:
        """The refusal of a request that is no navigation, or one too many (B-30)."""
        address = self._address(request)
        if (refusal := no_navigation(request, address, self._sessions.frontend)) is not None:
            return refusal
        browser = next((each.browser for each in self._transactions(request)), None)
        return too_many(await self._limits.sign_in(what, address, browser))

    def _address(self, request: Request) -> str:
        return address_of(request, self._trusted)
