"""The interface of a contender."""

import time
from abc import ABC, abstractmethod

from tests.tools.bench.environment import Ground
from tests.tools.bench.load import Request
from tests.tools.bench.programs import Program, lasting_port
from tests.tools.bench.traffic import browser_fields

_SESSION_AGE = 400.0
"""Seconds after which a contender's session is made anew, well before any of them ends or is renewed."""


class Contender(ABC):
    """A program that answers the bench's requests on `port`.

    Attributes:
        name: what `--only` and the tables call it.
        what: what it is, in a line.
        group: the process group that does the work; its CPU time is counted.
    """

    name: str
    what: str

    def __init__(self) -> None:
        self.port = lasting_port()
        self.program: Program | None = None
        self._session: dict[str, str] = {}
        self._users: dict[int, tuple[float, list[dict[str, str]]]] = {}  # by their number, with their time
        self.scripts: dict[str, tuple[object, str]] = {}  # of the traffic, by the load's name
        self.front: int | None = None  # the port of an nginx before it
        self._signed_at = float("-inf")

    @property
    def group(self) -> int | None:
        return None if self.program is None else self.program.pid

    @property
    def redirect_uri(self) -> str | None:
        """The redirect URI, for a contender that signs in at the issuer."""
        return None

    def missing(self) -> str | None:
        """The name of a program that has to be installed first; None if all is there."""
        return None

    @abstractmethod
    def start(self, ground: Ground) -> None:
        """Starts it on the contender's core."""

    def sign_in(self) -> dict[str, str]:
        """The headers that carry its session; made anew now and then."""
        return {"Authorization": "Bearer x"}

    def users(self, ground: Ground, count: int) -> list[dict[str, str]]:
        """The headers that carry sessions, one for each user: `count` where there can be. Here it is one."""
        del ground, count
        return [self.sign_in()]

    def users_at_hand(self, ground: Ground, count: int) -> list[dict[str, str]]:
        """The users' headers, made anew now and then."""
        made_at, users = self._users.get(count, (float("-inf"), []))
        if time.monotonic() - made_at > _SESSION_AGE:
            users = self.users(ground, count)
            self._users[count] = time.monotonic(), users
        return users

    def spread_uses(self, ground: Ground, count: int) -> None:
        """Has this number of users been seen last at moments that are evenly spread, where that is noted."""
        del ground, count

    def browser(self) -> dict[str, str]:
        """The fields of a browser's request, without its session."""
        return browser_fields(f"localhost:{self.port}")

    def headers(self) -> dict[str, str]:
        """The headers of a request to it, those that browsers send included."""
        if time.monotonic() - self._signed_at > _SESSION_AGE:
            self._session = self.sign_in()
            self._signed_at = time.monotonic()
        return {
            "Host": f"localhost:{self.port}",
            "Accept": "application/json",
            "Accept-Language": "en-GB,en;q=0.9",
            "Sec-Fetch-Site": "same-origin",
            "Sec-Fetch-Mode": "cors",
            "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            "X-CSRF": "1",
            **self._session,
        }

    def answers(self, request: Request) -> bool:
        """Returns true if it can answer this kind of request."""
        del request
        return True
