"""A sign-in under way: the state of login until the provider sends the browser back.

It lives in the browser, one sealed cookie for each sign-in, so that nobody can fill Redis by calling login
(B-30) and two tabs do not disturb each other (O-11). `state` names the cookie, by its hash.

Rule 1: a cookie that does not open, stands twice, or has another transaction's name is ignored. One that is
too old opens nothing any more; for a day it still says where the browser was, and what was asked for.
Rule 2: at most `max_transactions` cookies, and not too many bytes of them; those that are of no more use go
first, then the oldest.
Rule 3: a transaction that is done keeps where it led, and nothing that opens anything: a repeated callback
then still ends at the right page.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from bff.crypto import Keyring
from bff.policy.cookie_names import own_cookie
from bff.policy.cookie_parser import values_by_name
from bff.policy.return_to import error_code
from bff.settings.model import ServerSettings, SessionSettings

MAX_COOKIE = 4096  # name and value together: the bytes that browsers keep (RFC 6265bis 5.6)
MAX_CALLBACK_COOKIE = 3000  # of the callback's one cookie: with it the answer's head stays below nginx' 4 KiB
MAX_KEPT = 4096  # of all of them beside a new one: servers in front of us limit a request's head
MAX_CODE = 8192
"""The longest code in bytes: the most in a request line of 8 KiB, the limit of many servers."""
_PURPOSE = b"sign-in transaction v1"
_FIRST, _RESTARTED = "1", "2"
_KNOWN_FOR = 86400.0  # seconds behind its lifetime: a provider's sign-in page is left open over night
_OWN_ID = re.compile(rb"[-.]tx-[0-9a-f]{16}$")


@dataclass(frozen=True, slots=True)
class Returned:
    """The query of a callback: OAuth 2.0's answer to the authorization request (RFC 6749 4.1.2, RFC 9207).

    `stored`: the code is too long for a cookie; `stored_codes.py` keeps it in Redis. `via` is the provider
    whose own callback it came to.
    """

    at: float
    code: str | None = field(default=None, repr=False)
    iss: str | None = None
    error: str | None = None
    stored: bool = False
    via: str = ""

    @classmethod
    def read(cls, answer: Mapping[str, str], now: float, via: str = "") -> "Returned":
        """The answer, bounded: a code that is longer than can be right is the error that it leads to."""
        code, error = answer.get("code"), answer.get("error")
        if code is not None and len(code.encode("utf-8", "replace")) > MAX_CODE:
            code, error = None, error or "server_error"
        error = None if error is None else error_code(error)
        return cls(now, code, answer.get("iss"), error, via=via)


@dataclass(frozen=True, slots=True)
class Transaction:
    """One sign-in. `restarted` says that we began it ourselves, in place of one that came to nothing."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    code_verifier: str = field(repr=False)
    return_to: str
    created: float
    provider: str = ""  # its name
    own_callback: bool | None = None  # of the redirect URI that was sent; None: it was not noted
    browser: str = ""  # the same for all sign-ins that one browser has under way
    max_age: int | None = None
    acr_values: tuple[str, ...] = ()
    details: str = ""  # the name of the authorization details that were asked for
    step_up: bool = False  # asked for by a 401 `step_up_required`: a weaker sign-in than that will not do
    restarted: bool = False
    done: bool = False
    proof_key: str | None = field(default=None, repr=False)  # that the tokens will be bound to (RFC 9449)
    returned: Returned | None = None

    @property
    def id(self) -> str:
        """The part of the cookie's name that identifies the transaction; it does not reveal `state`."""
        return transaction_id(self.state)

    @property
    def failure(self) -> str:
        """The code for the page, of an ID token that is not taken."""
        return "step_up_failed" if self.step_up else "login_failed"

    def asked(self) -> dict[str, str]:
        """Returns the parameters of the sign-in that ask for its strength, its age, and details by name."""
        age = {} if self.max_age is None else {"max_age": str(self.max_age)}
        details = {"authorization_details": self.details} if self.details else {}
        return {**age, **details, **({"acr_values": " ".join(self.acr_values)} if self.acr_values else {})}

    def finished(self) -> "Transaction":
        """Returns the transaction as it is once its state has been used."""
        return replace(self, nonce="", code_verifier="", proof_key=None, done=True, returned=None)


def transaction_id(state: str) -> str:
    """The transaction that a `state` belongs to."""
    return hashlib.sha256(state.encode("utf-8", "replace")).hexdigest()[:16]


def begin(
    return_to: str,
    params: Mapping[str, str],
    now: float,
    *,
    provider: str = "",
    own_callback: bool | None = None,
    browser: str = "",
    details: str = "",
    restarted: bool = False,
    step_up: bool = False,
    proof_key: str | None = None,
) -> Transaction:
    """Makes a transaction with 256 random bits each for state, nonce and code verifier (RFC 7636 7.1).

    `state` begins with a digit that tells a restarted sign-in, so that a browser that keeps no cookies is
    not sent round in circles (O-10). A client that forges the digit loses one restart, no more.
    """
    max_age = params.get("max_age", "")
    return Transaction(
        state=(_RESTARTED if restarted else _FIRST) + secrets.token_urlsafe(32),
        nonce=secrets.token_urlsafe(32),
        code_verifier=secrets.token_urlsafe(32),
        return_to=return_to,
        created=now,
        provider=provider,
        own_callback=own_callback,
        browser=browser or secrets.token_urlsafe(16),
        max_age=int(max_age) if max_age.isascii() and max_age.isdigit() else None,
        acr_values=tuple(params.get("acr_values", "").split()),
        details=details,
        step_up=step_up,
        restarted=restarted,
        proof_key=proof_key,
    )


def is_restarted(state: str) -> bool:
    """Return True if a `state` belongs to a restarted sign-in."""
    return state.startswith(_RESTARTED)


class TransactionCookies:
    """The transactions of one browser, as its cookies hold them."""

    def __init__(self, keyring: Keyring, server: ServerSettings, session: SessionSettings) -> None:
        secure = server.public_url.startswith("https://")
        self._prefix = own_cookie(server.public_url, server.base_path, "-tx-")
        # Lax, because the provider's redirect to the callback comes from another site.
        self._attributes = "; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")
        self.keyring = keyring
        self._lifetime = session.transaction_lifetime
        self._limit = session.max_transactions

    def read(self, cookie_headers: Iterable[bytes], now: float) -> list[Transaction]:
        """The transactions under way and those just done, oldest first."""
        known = self._known(cookie_headers, now)
        return [each for each in known if now < each.created + self._lifetime]

    def overdue(self, cookie_headers: Iterable[bytes], now: float, state: str) -> Transaction | None:
        """The transaction of a `state` that came back after its lifetime, as one that is done since now."""
        for each in self._known(cookie_headers, now):
            if each.id == transaction_id(state):
                return replace(each.finished(), created=now)
        return None

    def _known(self, cookie_headers: Iterable[bytes], now: float) -> list[Transaction]:
        found = values_by_name(cookie_headers, self._prefix.encode())
        opened = [self._open(name, values, now) for name, values in found.items()]
        return sorted((each for each in opened if each is not None), key=lambda each: each.created)

    def store(self, transaction: Transaction, now: float, limit: int = MAX_COOKIE) -> str | None:
        """The `Set-Cookie` value that keeps it as long as it is known; None if it is too long."""
        left = max(1, int(transaction.created + self._known_for(transaction) - now))
        value = self.keyring.seal_cookie(_PURPOSE, _encode(transaction))
        pair = f"{self._prefix}{transaction.id}={value}"
        return None if len(pair) > limit else f"{pair}{self._attributes}; Max-Age={left}"

    def make_room(self, cookie_headers: Sequence[bytes], now: float) -> list[str]:
        """The `Set-Cookie` values that clear old transactions before one more is stored."""
        names = values_by_name(cookie_headers, self._prefix.encode())
        kept = sorted(self._known(cookie_headers, now), key=lambda each: (not each.done, each.created))
        surplus = max(0, len(kept) - self._limit + 1)
        sizes = [sum(map(len, names.get(f"{self._prefix}{each.id}".encode(), ()))) for each in kept]
        while sum(sizes[surplus:]) > MAX_KEPT:
            surplus += 1
        staying = {f"{self._prefix}{each.id}".encode() for each in kept[surplus:]}
        return [self._clear(name) for name in names if name not in staying and _OWN_ID.search(name)]

    def clear(self, transaction: Transaction) -> str:
        """The `Set-Cookie` value that removes it."""
        return self._clear(f"{self._prefix}{transaction.id}".encode())

    def _clear(self, name: bytes) -> str:
        return f"{name.decode('latin-1')}={self._attributes}; Max-Age=0"

    def _open(self, name: bytes, values: list[bytes], now: float) -> Transaction | None:
        if len(values) != 1 or not values[0].isascii():
            return None
        plaintext = self.keyring.open_cookie(_PURPOSE, values[0].decode("ascii"))
        transaction = None if plaintext is None else _decode(plaintext)
        if transaction is None or f"{self._prefix}{transaction.id}".encode() != name:
            return None
        return transaction if now < transaction.created + self._known_for(transaction) else None

    def _known_for(self, transaction: Transaction) -> float:
        return self._lifetime + (0 if transaction.done else _KNOWN_FOR)


def _encode(transaction: Transaction) -> bytes:
    return json.dumps(asdict(transaction), separators=(",", ":")).encode()


def _decode(plaintext: bytes) -> Transaction | None:
    """Returns the transaction; None for the cookie of another version of this program."""
    try:
        fields: dict[str, Any] = json.loads(plaintext)
        returned = fields.pop("returned")
        fields["acr_values"] = tuple(fields["acr_values"])
        return Transaction(**fields, returned=None if returned is None else Returned(**returned))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
