"""The providers of one frontend: its sign-ins choose one, and each session keeps to its own."""

from collections.abc import Iterable, Iterator

from bff.oidc.client import OidcClient


class Providers:
    """The clients of several providers, by name; the first is the default. There is one at least."""

    def __init__(self, clients: Iterable[OidcClient]) -> None:
        self._by_name = {client.settings.name: client for client in clients}
        self.default = next(iter(self._by_name.values()))

    def __iter__(self) -> Iterator[OidcClient]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    @property
    def several(self) -> bool:
        """True where there is a choice."""
        return len(self._by_name) > 1

    @property
    def names(self) -> frozenset[str]:
        """The names of all."""
        return frozenset(self._by_name)

    def get(self, name: str) -> OidcClient | None:
        """Returns the client of a provider; None if there is none of this name."""
        return self._by_name.get(name)

    def login_params(self) -> tuple[str, ...]:
        """Returns the parameters that a sign-in may be asked with at each of them."""
        first, *others = (client.settings.login_params for client in self)
        return tuple(name for name in first if all(name in other for other in others))

    def shown(self) -> tuple[str, ...] | None:
        """Returns the claims that a page may see of a session at any of them; None: all of the user's."""
        shown = [client.settings.claims for client in self]
        return None if None in shown else tuple(dict.fromkeys(name for each in shown for name in each or ()))
