"""The behaviour of a token endpoint, as data. `tests/support/providers/rotating.py` does it."""

from dataclasses import dataclass, field
from typing import Literal

Ticket = Literal["arrived", "spent"]
"""Where a call can be held: it has arrived and nothing has happened, or its token has been spent."""

End = Literal["answer", "reset", "hang", "cut"]
"""How it goes out: an answer, a reset, nothing for as long as the client waits, or half an answer."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The course of one call of the token endpoint.

    Attributes:
        delay: seconds before anything happens.
        hold: where it waits until `RotatingProvider.release`.
        spends: whether the refresh token is spent; else the call comes to nothing.
        status: of the answer; other than 200 it has `body`.
        body: instead of the honest one.
        headers: further fields of the answer.
        omits: what is left out of the honest body.
        end: how it goes out.
    """

    delay: float = 0.0
    hold: Ticket | None = None
    spends: bool = True
    status: int = 200
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = field(default=())
    omits: tuple[str, ...] = ()
    end: End = "answer"


HONEST = Behaviour()
HELD_ARRIVED = Behaviour(hold="arrived")
HELD_SPENT = Behaviour(hold="spent")


def slow(seconds: float) -> Behaviour:
    """Honest, after so long."""
    return Behaviour(delay=seconds)


def refusal(status: int, error: str | None = None, **headers: str) -> Behaviour:
    """A refusal that spends nothing; `error` is that of RFC 6749 5.2. `retry_after` becomes Retry-After."""
    body = b"trouble" if error is None else b'{"error":"%s"}' % error.encode()
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Behaviour(spends=False, status=status, body=body, headers=pairs)


TROUBLES: dict[str, Behaviour] = {
    "500": refusal(500),
    "500 after it rotated": Behaviour(status=500, body=b"trouble"),
    "502": refusal(502),
    "503": refusal(503, retry_after="1"),
    "503 in JSON": refusal(503, "temporarily_unavailable"),
    "429": refusal(429, "rate_limited", retry_after="1"),
    "429 without a word": refusal(429),
    "invalid_client": refusal(401, "invalid_client"),
    "access_denied": refusal(403, "access_denied"),
    "invalid_grant": refusal(400, "invalid_grant"),
    "hang": Behaviour(spends=False, end="hang"),
    "hang after it rotated": Behaviour(end="hang"),
    "reset": Behaviour(spends=False, end="reset"),
    "reset after it rotated": Behaviour(end="reset"),
    "answer cut short": Behaviour(end="cut"),
    "malformed JSON": Behaviour(body=b'{"access_token":'),
    "no access_token": Behaviour(omits=("access_token",)),
    "no token_type": Behaviour(omits=("token_type",)),
    "no expires_in": Behaviour(omits=("expires_in",)),
    "no refresh_token": Behaviour(omits=("refresh_token",)),  # it stays good: this provider did not rotate
}
"""Everything that goes wrong with one call, by name."""
