"""The short proof of a bound session's device: a cookie beside the session's, and the challenges to renew it.

The cookie says until when the device is proved, and proves that we said so of this session: each process
checks it by itself, without Redis. The session's own cookie stays as it is.

Rule 1: the server's time decides. `Max-Age` only tells the browser when to renew; a thief may ignore it.
Rule 2: a cookie is good for a tenth longer than the browser keeps it: a call that left with it may be late.
Rule 3: a challenge names its session and its use, and works once (`one_time_values.py`): no memory here.
"""

import math
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from bff.crypto import Keyring
from bff.policy.cookie_names import bound_cookie
from bff.policy.cookie_parser import cookie_values
from bff.settings.model import ServerSettings, SessionSettings

Use = Literal["register", "refresh"]

_COOKIE = b"bound cookie v1"
_CHALLENGE = b"device challenge v1"
_VALUE = re.compile(rb"([0-9]{1,12})\.([A-Za-z0-9_-]{43})")
_CHALLENGE_FORM = re.compile(
    r"(register|refresh)\.([0-9a-f]{64})\.([0-9]{1,12})\.[A-Za-z0-9_-]{22}\.([A-Za-z0-9_-]{43})"
)
_REMEMBERED = 10_000  # cookies whose signature held


@dataclass(frozen=True, slots=True)
class Challenge:
    """A challenge of ours. `ends` is in seconds since the epoch."""

    use: str
    session: str
    ends: float


class DeviceProof:
    """The cookies and challenges of one origin. `clock` gives seconds since the epoch.

    Attributes:
        name: the cookie's name.
        attributes: those of every write, as the browser is told them, too.
        register_path: the path that a browser registers its key at.
        challenge_lifetime: seconds for which a challenge can be answered.
    """

    def __init__(
        self,
        keyring: Keyring,
        server: ServerSettings,
        session: SessionSettings,
        clock: Callable[[], float],
    ) -> None:
        self._keyring = keyring
        self._clock = clock
        self._lifetime = session.bound_cookie_lifetime
        secure = server.public_url.startswith("https://")
        same_site = session.same_site.capitalize()
        self.name = bound_cookie(server.public_url, server.base_path)
        self.attributes = f"Path=/; HttpOnly; SameSite={same_site}" + ("; Secure" if secure else "")
        self.register_path = server.base_path + "/bff/dbsc/register"
        self.challenge_lifetime = 2 * self._lifetime + 60
        self._known: dict[bytes, tuple[str, float]] = {}  # the session's key and the end, by the cookie

    def set(self, key: str) -> str:
        """The `Set-Cookie` value that proves the device of this session for a while from now."""
        ends = math.ceil(self._clock() + self._lifetime * 1.1)
        proof = self._keyring.proof(_COOKIE, f"{key} {ends}")
        return f"{self.name}={ends}.{proof}; {self.attributes}; Max-Age={math.ceil(self._lifetime)}"

    def clear(self) -> str:
        """The `Set-Cookie` value that takes it away."""
        return f"{self.name}=; {self.attributes}; Max-Age=0"

    def proved(self, cookie_headers: Iterable[bytes], key: str) -> bool:
        """Returns True while a request's cookies prove the device of this session."""
        values = cookie_values(cookie_headers, self.name.encode())
        if len(values) != 1:
            return False
        known = self._known.get(values[0]) or self._verified(values[0], key)
        return known is not None and known[0] == key and self._clock() < known[1]

    def _verified(self, value: bytes, key: str) -> tuple[str, float] | None:
        read = _VALUE.fullmatch(value)
        if read is None:
            return None
        ends, proof = read[1].decode(), read[2].decode()
        if not self._keyring.proves(_COOKIE, f"{key} {ends}", proof):
            return None
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[value] = (key, float(ends))
        return self._known[value]

    def forget(self) -> None:
        """Forgets the cookies whose signature held: a server key has gone."""
        self._known.clear()

    def challenge(self, use: Use, key: str) -> str:
        """Makes a challenge for a session."""
        ends = math.ceil(self._clock() + self.challenge_lifetime)
        text = f"{use}.{key}.{ends}.{secrets.token_urlsafe(16)}"
        return f"{text}.{self._keyring.proof(_CHALLENGE, text)}"

    def read_challenge(self, text: str) -> Challenge | None:
        """Returns a challenge that we made, over or not; None for any other text."""
        read = _CHALLENGE_FORM.fullmatch(text)
        if read is None or not self._keyring.proves(_CHALLENGE, text.rpartition(".")[0], read[4]):
            return None
        return Challenge(read[1], read[2], float(read[3]))

    def fresh(self, challenge: Challenge | None, use: Use, key: str | None = None) -> bool:
        """Returns True for a challenge that can still be answered, for this use and, where given, session."""
        return (
            challenge is not None
            and challenge.use == use
            and key in (None, challenge.session)
            and self._clock() < challenge.ends
        )
