"""POST or GET /bff/logout, and /bff/logout/continue: sign-out here, then at the provider.

Rule 1: the order is revoke, delete, clear, and only then the provider's page (L-01); none of it waits long
for a provider that does not answer, and the answer names the steps that failed (L-02).
Rule 2: a script asks with the CSRF header, a navigation with the `sid` of `logout_url`, which a foreign page
cannot know (L-03).
Rule 3: the deleted tokens are the revoked ones: those that a rotation saved in between are revoked as well,
and those that were got in exchange for single backends.
Rule 4: the ID token leaves in one place: in the `Location` of `/bff/logout/continue`. Until then it is
sealed in a cookie that works once, for a minute.
It leaves for nobody who has copied the cookies of a session that is bound to a device: a request without the
device's proof ends the session, and the provider is not told whose it was.
Rule 5: a prefetch, a HEAD, and a request that is no navigation sign nobody out (B-37).
"""

import asyncio
import json
import secrets
from collections.abc import Callable, Sequence
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bff.crypto import Keyring
from bff.errors import Problem, StoreUnavailableError
from bff.observe.logs import audit, get_logger
from bff.oidc.providers import Providers
from bff.policy.cookie_names import own_cookie
from bff.policy.cookie_parser import cookie_values
from bff.policy.csrf import DOCUMENTED, Guard, Rejected
from bff.session.device_bound_sessions import is_proved, unproved
from bff.session.model import EndReason, Fence, Session
from bff.session.sessions import Found, NoSession, Sessions
from bff.session.succession import sign_out_next
from bff.settings.model import ServerSettings
from bff.web.accounting import name_session
from bff.web.responses import (
    address_of,
    cookie_headers,
    json_answer,
    no_navigation,
    problem_answer,
    redirect,
)

CONTINUE = "/bff/logout/continue"
CONTINUE_LIFETIME = 60
_MAX_COOKIE = 4096  # name and value together (RFC 6265bis 5.6)
_SID = b"logout sid v1"
_PURPOSE = b"logout continue v1"
_WRONG_SID = f"`sid` is not this session's: take the logout_url of /bff/user as it is. {DOCUMENTED}."
_log = get_logger("bff.logout")


def logout_url(keyring: Keyring, handle: str, base_path: str = "") -> str:
    """The address that signs this one session out by a plain link."""
    return base_path + "/bff/logout?" + urlencode({"sid": keyring.proof(_SID, handle)})


class LogoutEndpoints:
    """The three endpoints.

    `clear_site_data` names the data that a browser forgets: never "cookies", which would wipe those of
    sibling hosts, the provider's included (B-26). `clock` gives seconds since the epoch.
    """

    def __init__(
        self,
        *,
        providers: Providers,
        sessions: Sessions,
        keyring: Keyring,
        guard: Guard,
        server: ServerSettings,
        clear_site_data: Sequence[str],
        clock: Callable[[], float],
    ) -> None:
        secure = server.public_url.startswith("https://")
        self._providers = providers
        self._sessions = sessions
        self._keyring = keyring
        self._guard = guard
        self._trusted = server.trusted_proxies
        self._landing = providers.default.settings.post_logout_path
        self._origin = server.public_url.rstrip("/")
        self._cookie = own_cookie(server.public_url, server.base_path, "-logout")
        self._continue = server.base_path + CONTINUE
        self._attributes = "; Path=/; HttpOnly; SameSite=Strict" + ("; Secure" if secure else "")
        forgotten = ", ".join(f'"{kind}"' for kind in clear_site_data)
        self._forgotten = {"clear-site-data": forgotten} if forgotten else {}
        self._clock = clock

    def routes(self) -> list[Route]:
        """The routes of all three."""
        return [
            Route("/bff/logout", self.logout, methods=["GET", "POST"]),
            Route(CONTINUE, self.proceed, methods=["GET"]),
        ]

    async def logout(self, request: Request) -> Response:
        """Signs out, as a script or a navigation asks for it."""
        by = self.by_script if request.method == "POST" else self.by_navigation
        return await by(request)

    async def by_script(self, request: Request) -> Response:
        """Signs out; the page goes to `redirect` next. Without a session there is only a cookie to clear."""
        verdict = self._guard.script(request.scope["headers"])
        if isinstance(verdict, Rejected):
            return self._rejected(request, verdict.reason, self._guard.explain(verdict.reason))
        try:
            address = address_of(request, self._trusted)
            found = await unproved(self._sessions, cookie_headers(request), address=address)
            return await self.sign_out(request, found)
        except StoreUnavailableError:
            return problem_answer(Problem.STORE_UNAVAILABLE)

    async def sign_out(self, request: Request, found: Found | NoSession) -> Response:
        """Signs this session out, and answers a script that has asked for it; StoreUnavailableError."""
        revoked, way_out = await self._sign_out(request, found)
        document = {
            "redirect": self._continue,
            "provider_revoked": revoked,
            "provider_sign_out": way_out is not None,
        }
        response = json_answer(document, headers=self._forgotten)
        for value in self._set_cookies(way_out):
            response.headers.append("set-cookie", value)
        return response

    async def by_navigation(self, request: Request) -> Response:
        """Signs out the session that `sid` belongs to, and no other; by a navigation alone."""
        if (refusal := self._no_navigation(request, "GET, POST")) is not None:
            return refusal
        verdict = self._guard.sign_out(request.scope["headers"])
        if isinstance(verdict, Rejected):
            return self._rejected(request, verdict.reason, self._guard.explain(verdict.reason))
        handle = self._handle(request)
        if handle is None:
            return redirect(303, self._continue)
        if not self._keyring.proves(_SID, handle, request.query_params.get("sid", "")):
            return self._rejected(request, "sid", _WRONG_SID)
        try:
            _, way_out = await self._sign_out(request, await self._sessions.open(handle))
        except StoreUnavailableError:
            return problem_answer(Problem.STORE_UNAVAILABLE)
        return redirect(303, self._continue, set_cookies=self._set_cookies(way_out), headers=self._forgotten)

    async def proceed(self, request: Request) -> Response:
        """Sends the browser to the provider's sign-out if it has just signed out here, else to our page."""
        if (refusal := self._no_navigation(request, "GET")) is not None:
            return refusal
        values = cookie_values(cookie_headers(request), self._cookie.encode())
        if not values:
            return redirect(303, self._landing)
        clear = [f"{self._cookie}={self._attributes}; Max-Age=0"]
        try:
            target = await self._opened(values[0]) if len(values) == 1 else None
        except StoreUnavailableError:
            return problem_answer(Problem.STORE_UNAVAILABLE)
        return redirect(303, target or self._landing, set_cookies=clear)

    async def _sign_out(self, request: Request, found: Found | NoSession) -> tuple[bool, str | None]:
        """Revokes and deletes. Whether the provider confirmed it, and the sealed way to its sign-out."""
        if isinstance(found, NoSession):
            if found.key is not None and found.reason is EndReason.SIGNED_IN_AGAIN:
                await sign_out_next(self._sessions, found.key)
            return False, None
        name_session(request.scope, found.session.key, found.session)
        session, revoked = await self._end(found)
        address = address_of(request, self._trusted)
        self._sessions.audit("signed_out", session, address=address, provider_revoked=revoked)
        return revoked, await self._sealed_way_out(
            session, named=is_proved(self._sessions, cookie_headers(request), session)
        )

    async def _end(self, found: Found) -> tuple[Session, bool]:
        """Ends the session whose tokens it has revoked; if others have come meanwhile, it begins anew."""
        session, revoked = found.session, False
        fences: tuple[Fence, ...] = ("all tokens", "all tokens", None)
        for fence in fences:
            session = found.session
            revoked = await self._revoke(session)
            if await self._sessions.end(session, EndReason.LOGOUT, provider_revoked=revoked, fence=fence):
                break
            current = await self._sessions.open(found.handle)
            if isinstance(current, NoSession):
                await sign_out_next(self._sessions, session.key)  # a step-up may have been faster
                break
            found = current
        return session, revoked

    async def _revoke(self, session: Session) -> bool:
        """Return True if the provider has confirmed it."""
        revoked = await self._revoked(session)
        if revoked is not None:  # else there is nowhere to revoke it, which the log says once
            self._sessions.audit(
                "tokens_revoked" if revoked else "revocation_failed", session, reason="logout"
            )
        return bool(revoked)

    async def _revoked(self, session: Session) -> bool | None:
        tokens = session.tokens
        client = self._providers.get(session.provider)
        if client is None:
            return None
        own = (
            client.revoke(tokens.access_token, "access_token")
            if tokens.refresh_token is None
            else client.revoke(tokens.refresh_token, "refresh_token")
        )
        now = self._clock()
        exchanged = [
            client.revoke(token.access_token, "access_token")
            for token in session.exchanged.values()
            if token.expires_at is None or now < token.expires_at
        ]
        revoked, *_ = await asyncio.gather(own, *exchanged)  # at once: nobody waits for one after the other
        return revoked

    async def _sealed_way_out(self, session: Session, *, named: bool) -> str | None:
        """Returns the sealed way to the provider's sign-out; unless `named` it tells of no user."""
        client = self._providers.get(session.provider)
        if client is None:
            return None
        landing = self._origin + client.settings.post_logout_path
        for id_token in (session.tokens.id_token, None) if named else (None,):
            url = await client.end_session_url(
                id_token=id_token,
                logout_hint=session.sub if named else None,
                post_logout_redirect_uri=landing,
            )
            if url is None:
                return None
            sealed = self._sealed(url)
            if len(self._cookie) + 1 + len(sealed) <= _MAX_COOKIE:
                return sealed
            _log.warning("id_token_too_long_for_hint", session=session.id)
        return None

    def _sealed(self, url: str) -> str:
        fields = [url, secrets.token_urlsafe(16), self._clock() + CONTINUE_LIFETIME]
        return self._keyring.seal_cookie(_PURPOSE, json.dumps(fields).encode())

    async def _opened(self, value: bytes) -> str | None:
        """The provider's address, once."""
        opened = self._keyring.open_cookie(_PURPOSE, value.decode("latin-1"))
        if opened is None:
            return None
        url, once, ends = json.loads(opened)
        if self._clock() >= ends:
            return None
        fresh = await self._sessions.one_time.claim("logout", once, lifetime=CONTINUE_LIFETIME)
        return str(url) if fresh else None

    def _set_cookies(self, way_out: str | None) -> list[str]:
        cookies = self._sessions.cleared()
        if way_out is not None:
            cookies.append(f"{self._cookie}={way_out}{self._attributes}; Max-Age={CONTINUE_LIFETIME}")
        return cookies

    def _handle(self, request: Request) -> str | None:
        values = cookie_values(cookie_headers(request), self._sessions.cookie.name.encode())
        return self._keyring.accepts(values[0]) if len(values) == 1 else None

    def _no_navigation(self, request: Request, allow: str) -> Response | None:
        return no_navigation(request, address_of(request, self._trusted), self._sessions.frontend, allow)

    def _rejected(self, request: Request, reason: str, detail: str) -> Response:
        where = {"address": address_of(request, self._trusted), "frontend": self._sessions.frontend}
        audit("csrf_rejected", **where, reason=reason)
        return problem_answer(Problem.CSRF_REJECTED, detail=detail, reason=reason)
