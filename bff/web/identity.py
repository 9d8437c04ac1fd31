"""The person and the browser of a sign-in: the rule, the name to show, the user agent, the beginning."""

from starlette.requests import Request

from bff.errors import ProviderUnavailableError
from bff.oidc.id_token import Claims
from bff.oidc.userinfo import Told
from bff.policy.claim_rules import holds
from bff.session.session_builder import Identity
from bff.session.sessions import Found, NoSession
from bff.settings.claim_rule import ClaimRule
from bff.web.login_transaction import Transaction

_MAX_USER_AGENT = 256


class NotAllowedError(Exception):
    """The provider's rule does not let this user in."""

    def __init__(self, sub: str) -> None:
        super().__init__(sub)
        self.sub = sub


def check_allowed(rule: ClaimRule | None, told: Told) -> None:
    """Checks the claims of a sign-in by the rule of its provider.

    Raises:
        NotAllowedError: the rule does not let this user in.
        ProviderUnavailableError: the same, and the userinfo endpoint, which may know better, did not answer.
    """
    if rule is None or holds(rule, told.claims):
        return
    if not told.complete:
        raise ProviderUnavailableError("the claims that provider.allow asks for could not be had")
    raise NotAllowedError(told.claims["sub"])


def identity_of(provider: str, claims: Claims) -> Identity:
    """The identity that the claims of an ID token tell."""
    sid = claims.get("sid")
    return Identity(
        provider=provider,
        sub=claims["sub"],
        sid=sid if isinstance(sid, str) else None,
        name=display_name(claims),
        claims=claims,
    )


def user_agent(request: Request) -> str:
    """The browser's name for itself, bounded."""
    return request.headers.get("user-agent", "")[:_MAX_USER_AGENT]


def display_name(claims: Claims) -> str:
    """The name to show to people; empty where no claim has one."""
    candidates = (claims.get(name) for name in ("name", "preferred_username", "email"))
    return next((value for value in candidates if isinstance(value, str) and value), "")


def began_at(transaction: Transaction, claims: Claims, clock_skew: float) -> float:
    """Returns the time since which a sign-out of the user is not known to this sign-in.

    It is the beginning of the sign-in, or `auth_time` if that is later: a user who gives a password after a
    sign-out has signed in anew, though the sign-in was begun before it.
    """
    at = claims.get("auth_time")
    if not isinstance(at, int | float):
        return transaction.created
    return max(transaction.created, at - clock_skew)


def too_weak(transaction: Transaction, claims: Claims) -> bool:
    """Return True if a step-up has come back without any `acr` that it asked for (RFC 9470 4)."""
    wanted = transaction.acr_values if transaction.step_up else ()
    return bool(wanted) and claims.get("acr") not in wanted


def went_on_since(transaction: Transaction, identity: Identity, found: Found | NoSession) -> float | None:
    """The beginning of the session that a step-up goes on with; None for another user's, or without one."""
    if not transaction.step_up or not isinstance(found, Found):
        return None
    former = found.session
    same = (former.provider, former.sub) == (identity.provider, identity.sub)
    return former.created if same else None
