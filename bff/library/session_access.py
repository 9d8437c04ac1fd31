"""The session of a request to an application's own endpoints: the user, the token, the refusal.

The rules are those of forwarded calls: the same guard, the same near cache, the same refresh.

Rule 1: a request that changes something, and every one that `require` lets in, comes from a page of ours.
Rule 2: a user's claims are remembered beside the near cache, for the version of the session that it vouches
for: a warm session asks Redis nothing.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import HTTPConnection

from bff.app import App
from bff.credentials.credential import Signed
from bff.errors import Problem, StoreUnavailableError
from bff.library.errors import BffError
from bff.observe.logs import audit
from bff.policy.csrf import SAFE_METHODS, Rejected
from bff.policy.public_claims import public_claims
from bff.problems import LOGIN
from bff.session.model import Found, Session
from bff.session.sessions import NoSession
from bff.web.responses import address_of, cookie_headers

_REMEMBERED = 10_000  # users


@dataclass(frozen=True, slots=True)
class User:
    """A signed-in user.

    Attributes:
        sub: the user, as the provider names them.
        session: the session's id, as `/bff/user` and the log have it; no key to it.
        claims: the claims that a page may see (`provider.claims`).
        created: the time of the sign-in, in seconds since the epoch.
        ends: the latest end of the session.
    """

    sub: str
    session: str
    claims: Mapping[str, Any] = field(hash=False)
    created: float
    ends: float


class SessionAccess:
    """The sessions of one running proxy, by the requests of its host application."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._trusted = app.settings.server.trusted_proxies
        self._shown = {each.name: each.claims for each in app.settings.providers()}
        self._login_url = app.settings.server.base_path + LOGIN
        self._remembered: OrderedDict[str, tuple[int, Mapping[str, Any]]] = OrderedDict()

    async def user(self, request: HTTPConnection, *, required: bool) -> User | None:
        """Returns the signed-in user; without one None, or if one is `required` raises BffError."""
        rejected = self._rejected(request, strict=required)
        if rejected is not None:
            if required:
                raise self._refusal(request, rejected)
            return None
        found = await self._find(request)
        if isinstance(found, NoSession):
            if required:
                raise BffError(found.problem, reason=found.reason, login_url=self._login_url)
            return None
        self._app.credentials[None].used(found)
        session = found.session
        claims = public_claims(self._claims(session), self._shown.get(session.provider))
        return User(session.sub, session.id, claims, session.created, session.ends)

    async def token(self, request: HTTPConnection, audience: str | None) -> str:
        """Returns an access token for the user's calls; raises BffError without one."""
        credentials = self._app.credentials.get(audience)
        if credentials is None:
            raise ValueError(f"no route has the audience {audience!r}, and `audiences` does not name it")
        rejected = self._rejected(request, strict=False)
        if rejected is not None:
            raise self._refusal(request, rejected)
        cookies = cookie_headers(request)
        credential = credentials.at_hand(cookies) or await credentials.obtain(
            cookies, address=address_of(request, self._trusted)
        )
        if isinstance(credential, Signed):
            return credential.found.session.tokens.access_token
        problem = getattr(credential, "problem", Problem.SESSION_MISSING)
        raise BffError(
            problem,
            reason=getattr(credential, "reason", None),
            retry_after=getattr(credential, "retry_after", None),
            login_url=self._login_url,
        )

    async def _find(self, request: HTTPConnection) -> Found | NoSession:
        """Finds the session, with its claims or with remembered ones."""
        cookies = cookie_headers(request)
        near = self._app.sessions.cached(cookies)
        if near is not None and self._is_remembered(near.session):
            return near
        try:
            found = await self._app.sessions.find(cookies, address=address_of(request, self._trusted))
        except StoreUnavailableError:
            raise BffError(Problem.STORE_UNAVAILABLE, login_url=self._login_url) from None
        if isinstance(found, Found):
            self._remember(found.session)
        return found

    def _is_remembered(self, session: Session) -> bool:
        known = self._remembered.get(session.key)
        return known is not None and known[0] == session.version

    def _remember(self, session: Session) -> None:
        self._remembered[session.key] = session.version, session.claims
        self._remembered.move_to_end(session.key)
        if len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)

    def _claims(self, session: Session) -> Mapping[str, Any]:
        return self._remembered[session.key][1]

    def _rejected(self, request: HTTPConnection, *, strict: bool) -> Rejected | None:
        headers, guard = request.scope["headers"], self._app.guard
        if request.scope["type"] == "websocket":
            verdict = guard.websocket(headers)
        elif strict or request.scope["method"].encode("ascii") not in SAFE_METHODS:
            verdict = guard.script(headers)
        else:
            return None
        return verdict if isinstance(verdict, Rejected) else None

    def _refusal(self, request: HTTPConnection, rejected: Rejected) -> BffError:
        audit("csrf_rejected", address=address_of(request, self._trusted), reason=rejected.reason)
        detail = self._app.guard.explain(rejected.reason)
        return BffError(
            Problem.CSRF_REJECTED, reason=rejected.reason, detail=detail, login_url=self._login_url
        )
