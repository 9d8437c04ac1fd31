"""The frontend of a request, by its Host and its path: a dictionary, then the longest prefix. Pure.

Rule 1: the Host is one of the spellings that the request parser lets in. Any other belongs to nobody.
Rule 2: paths are compared raw, by whole segments, so that no reading of a path leads to two frontends. A path
under no frontend's prefix goes to the host's first one, which has nothing there.
"""

from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

from bff.policy.fields import Header
from bff.policy.forward_auth_request import asked_place, is_forward_auth
from bff.policy.public_origin import PublicOrigin
from bff.settings.frontends import frontends_of
from bff.settings.model import Settings

T = TypeVar("T")


def hosts_of(settings: Settings) -> frozenset[bytes]:
    """Returns the spellings of the hosts of all frontends, which the request parser lets in."""
    urls = [each.settings.server.public_url for each in frontends_of(settings)]
    return frozenset().union(*(PublicOrigin.parse(url).hosts for url in urls))


class Placed(NamedTuple, Generic[T]):
    """A frontend at its place: an origin, and the path under which it lies, "" for all of it."""

    origin: PublicOrigin
    base_path: str
    frontend: T


class FrontendTable(Generic[T]):
    """The frontends of a process, by their places; there is one at least.

    Attributes:
        whole_hosts: those of which one has all of a host.
    """

    def __init__(self, placed: Iterable[Placed[T]]) -> None:
        self._by_host: dict[bytes, list[tuple[bytes, bytes, T]]] = {}
        every = list(placed)
        self._first = every[0].frontend
        for origin, base_path, frontend in sorted(every, key=lambda one: len(one.base_path), reverse=True):
            prefix = base_path.encode("ascii")
            for host in origin.hosts:
                self._by_host.setdefault(host, []).append((prefix, prefix + b"/", frontend))
        self.whole_hosts = {
            host: here[0][2] for host, here in self._by_host.items() if len(here) == 1 and not here[0][0]
        }

    @property
    def hosts(self) -> frozenset[bytes]:
        """The spellings of all hosts."""
        return frozenset(self._by_host)

    def of(self, host: bytes, raw_path: bytes) -> T | None:
        """Returns the frontend of a request; None for a host that is not served."""
        whole = self.whole_hosts.get(host)
        if whole is not None:
            return whole
        here = self._by_host.get(host) or self._by_host.get(host.lower())
        if here is None:
            return None
        for prefix, beginning, frontend in here:
            if not prefix or raw_path == prefix or raw_path.startswith(beginning):
                return frontend
        return here[0][2]

    def of_request(self, headers: Iterable[Header], raw_path: bytes) -> T | None:
        """Returns the frontend of a request, None for a host that is not served, for none and for two.

        A question of forward-auth belongs to the frontend that it asks about. It may be asked by a name
        of the reverse proxy's own: a question about no host of ours is for any to refuse.
        """
        if is_forward_auth(raw_path):
            asked = self.of(*asked_place(headers, raw_path))
            return self._first if asked is None else asked
        hosts = [value for name, value in headers if name == b"host"]
        return self.of(hosts[0], raw_path) if len(hosts) == 1 else None  # another server may let two through
