"""Checks a sign-in (limits, password, suspension), and begins it.

Rule 1: few passwords are hashed at once, and few wait for it: memory and patience are bounded.
Rule 2: answers are the same for existing and unknown accounts, except to a user who knows the password.
Rule 3: each sign-in has a new cookie. A user who is signed in already keeps the `sid`: signing out ends the
clients' earlier tokens, too.
Rule 4: a sign-in that was under way while its account was changed, or its `sid` ended, is over.
"""

import math
import secrets
import time
from dataclasses import dataclass
from typing import Final

import anyio
from anyio import to_thread
from starlette.requests import Request

from bff.issuer.accounts.accounts import Account, Accounts, normal_address
from bff.issuer.accounts.rate_limits import SignInLimiter
from bff.issuer.logout.termination import Termination
from bff.issuer.settings import IssuerSettings
from bff.issuer.store.sign_in_sessions import Device, SignIn, SignInSessions
from bff.observe.logs import audit
from bff.policy.client_address import client_address, rate_key

MAX_USER_AGENT = 300  # characters kept
MAX_WAITING = 256  # sign-ins in line for a hash; at 0.1 s each and two at once the last one waits 13 s
WRONG_CREDENTIALS: Final = "This email address and password do not match."
SUSPENDED: Final = "This account is suspended. Please ask whoever looks after it."
CHANGED: Final = "Your account was changed just now. Please sign in again."
BUSY: Final = "Too many people are signing in just now. Please try again in a few seconds."


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials of a sign-in: email address and password as typed, and the browser.

    Attributes:
        client_id: the client that sent the browser here.
        device: the browser's name for itself, and its network address.
        known_as: the cookie by which the browser is known, if it has one.
        former: the cookie of the sign-in that the browser came with, if there is one.
    """

    email: str
    password: str
    client_id: str
    device: Device
    known_as: str | None
    former: str | None

    __repr__ = object.__repr__


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A sign-in with the cookie `session`, in a browser that is `known_as` from now on."""

    account: Account
    sign_in: SignIn
    session: str
    known_as: str

    __repr__ = object.__repr__


@dataclass(frozen=True, slots=True)
class NotSignedIn:
    """A refused sign-in: the page's message, its status, and the seconds to wait, if waiting helps."""

    problem: str
    status: int
    retry_after: int | None = None


class SignInService:
    """Signs people in, for all pages of one process."""

    def __init__(
        self,
        settings: IssuerSettings,
        accounts: Accounts,
        limiter: SignInLimiter,
        sign_in_sessions: SignInSessions,
        termination: Termination,
    ) -> None:
        self._accounts, self._limiter, self._sign_in_sessions, self._termination = (
            accounts,
            limiter,
            sign_in_sessions,
            termination,
        )
        self._trusted = settings.trusted_proxies
        self._lifetime = settings.session_lifetime
        self._at_once = settings.password_cost.at_once
        self._room = anyio.CapacityLimiter(self._at_once)
        self._here = 0  # at work or in line; the limiter counts a newcomer only at the next turn of the loop

    def device_of(self, request: Request) -> Device:
        """The browser's user agent and address, the address as far as trusted proxies report it."""
        peer = request.client.host if request.client else None
        forwarded = [value.encode("latin-1") for value in request.headers.getlist("x-forwarded-for")]
        user_agent = request.headers.get("user-agent", "")[:MAX_USER_AGENT]
        return Device(user_agent, client_address(peer, forwarded, self._trusted))

    async def sign_in(self, credentials: Credentials) -> SignedIn | NotSignedIn:
        """Checks in a thread, when it is this sign-in's turn."""
        if self._here >= self._at_once + MAX_WAITING:
            return NotSignedIn(BUSY, 503, 5)
        self._here += 1
        try:
            return await to_thread.run_sync(self._sign_in, credentials, limiter=self._room)
        finally:
            self._here -= 1

    def _sign_in(self, credentials: Credentials) -> SignedIn | NotSignedIn:
        now = time.time()
        who, address = credentials.email, credentials.device.address
        email = normal_address(who) or who
        attempt = self._limiter.plan(email, rate_key(address), credentials.known_as)
        if (wait := self._limiter.take(attempt, now)) > 0:
            audit("rate_limited", address=address, reason="sign_in", client_id=credentials.client_id)
            return NotSignedIn(_patience(wait), 429, math.ceil(wait))
        account = self._accounts.check(email, credentials.password)
        if account is None:
            return _fail(credentials, "wrong_credentials", WRONG_CREDENTIALS, 422)
        self._limiter.give_back(attempt, now)
        if account.suspended is not None:
            return _fail(credentials, "suspended", SUSPENDED, 403, account.sub)
        return self._begin(account, email, credentials, now)

    def _begin(
        self, account: Account, email: str, credentials: Credentials, now: float
    ) -> SignedIn | NotSignedIn:
        former = self._sign_in_sessions.find(credentials.former) if credentials.former else None
        if credentials.former is not None:
            self._sign_in_sessions.forget(credentials.former)
        again = former is not None and former.sub == account.sub
        sid = former.sid if former is not None and again else secrets.token_urlsafe(16)
        sign_in = SignIn(account.sub, sid, int(now))
        session, known_as = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self._sign_in_sessions.save(session, sign_in, self._lifetime, now, credentials.device)
        current = self._accounts.find(account.sub)
        changed = current is None or current.generation != account.generation
        if changed or self._sign_in_sessions.has_ended(sid):
            self._sign_in_sessions.forget(session)  # an end that came in between may have forgotten its name
            self._termination.end_sign_in(sid, "account_changed")
            return _fail(credentials, "account_changed", CHANGED, 409, account.sub)
        self._limiter.know(email, known_as, credentials.known_as, now)
        audit(
            "signed_in",
            sub=account.sub,
            address=credentials.device.address,
            reason="again" if again else "password",
            sid=sid,
            client_id=credentials.client_id,
        )
        return SignedIn(account, sign_in, session, known_as)


def _fail(
    credentials: Credentials, reason: str, problem: str, status: int, sub: str | None = None
) -> NotSignedIn:
    """A failed sign-in: the message for the user and the reason for the log."""
    address = credentials.device.address
    audit("sign_in_failed", sub=sub, address=address, reason=reason, client_id=credentials.client_id)
    return NotSignedIn(problem, status)


def _patience(seconds: float) -> str:
    """The message for a user who has to wait."""
    minutes = math.ceil(seconds / 60)
    when = "in a minute" if minutes == 1 else f"in {minutes} minutes"
    return f"There were too many attempts to sign in. Please try again {when}."
