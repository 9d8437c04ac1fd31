"""The person and the browser of a sign-in: the name to show, the user agent, the beginning."""

from starlette.requests import Request

from bff.oidc.id_token import Claims
from bff.web.transaction import Transaction

_MAX_USER_AGENT = 256


def user_agent(request: Request) -> str:
    """The browser's name for itself, bounded."""
    return request.headers.get("user-agent", "")[:_MAX_USER_AGENT]


def display_name(claims: Claims) -> str:
    """The name to show to people; empty where no claim has one."""
    candidates = (claims.get(name) for name in ("name", "preferred_username", "email"))
    return next((value for value in candidates if isinstance(value, str) and value), "")


def began_at(transaction: Transaction, claims: Claims, clock_skew: float) -> float:
    """The time since which a sign-out of the user is unknown to this sign-in: our hop, or their own act.

    Who gives a password after the end has signed in anew, though our page was open before (`auth_time`).
    """
    at = claims.get("auth_time")
    if not isinstance(at, int | float):
        return transaction.created
    return max(transaction.created, at - clock_skew)
