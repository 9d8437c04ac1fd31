"""The hosts that a request may name, in its `Host` and in an absolute request target. Pure.

Rule 1: a host that is not ours is let in to one place alone: a reverse proxy asks at the address of
forward-auth by the name that it knows us by.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from bff.policy.forward_auth_request import is_forward_auth
from bff.policy.public_origin import PublicOrigin
from bff.settings.model import ServerSettings

_ADVICE = (
    "server.public_url has to be the address that browsers show, and a reverse proxy in front has to pass "
    "Host on as the browser sent it"
)


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """The hosts of a server.

    Attributes:
        scheme: of the origins that browsers see.
        names: the hosts of all frontends, each with and without the scheme's own port.
        asking: the hosts of `[forward_auth]`, by which a reverse proxy may ask for a token.
    """

    scheme: bytes
    names: frozenset[bytes]
    asking: frozenset[bytes] = frozenset()

    @classmethod
    def configured(
        cls, settings: ServerSettings, asking: Iterable[str] = (), names: frozenset[bytes] | None = None
    ) -> "AllowedHosts":
        """Returns the hosts of a server; `names` are those of all frontends, None for the server's own."""
        public = PublicOrigin.parse(settings.public_url)
        return cls(
            scheme=public.scheme,
            names=public.hosts if names is None else names,
            asking=frozenset(host.lower().encode("ascii") for host in asking),
        )

    def allows(self, host: bytes, path: bytes) -> bool:
        """Returns True if a request for this path may name the host."""
        return (
            host in self.names
            or (lower := host.lower()) in self.names
            or (is_forward_auth(path) and lower in self.asking)
        )

    def allows_target(self, scheme: bytes, host: bytes) -> bool:
        """Returns True if an absolute request target may name this origin, in lower case."""
        return scheme == self.scheme and host in self.names

    def are_same(self, one: bytes, other: bytes) -> bool:
        """Returns True for two spellings of one host: with the scheme's own port, or without."""
        return self._without_own_port(one) == self._without_own_port(other)

    def advice(self) -> str:
        """Returns the advice to a client that has named another host: most often a proxy has changed it."""
        return f"this is {self._shortest()}: {_ADVICE}"

    def home(self) -> str:
        """Returns the address of a start page that is served here."""
        return f"{self.scheme.decode('ascii')}://{self._shortest()}/"

    def _shortest(self) -> str:
        return min(sorted(self.names), key=len).decode("ascii")

    def _without_own_port(self, host: bytes) -> bytes:
        return host.lower().removesuffix(b":443" if self.scheme == b"https" else b":80")
