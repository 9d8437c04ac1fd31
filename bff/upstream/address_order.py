"""The order in which a backend's addresses are tried. Pure.

Rule 1: an address that took no connection is tried last until it has rested; it is never left out, so that
a backend is reachable as long as any of its addresses is.
Rule 2: among the others each new connection begins with the next one, so that they share the load.
"""

from collections.abc import Sequence

Address = tuple[str, int]
"""Host and port as the resolver gives them."""


class AddressBook:
    """The addresses of one backend, and the rest of those that took no connection. `rest` is in seconds."""

    __slots__ = ("_next", "_rest_time", "_resting")

    def __init__(self, rest: float) -> None:
        self._rest_time = rest
        self._next = 0
        self._resting: dict[Address, float] = {}  # until when

    def in_order(self, found: Sequence[Address], now: float) -> list[Address]:
        """Returns the addresses that the resolver found now, each once, in the order in which to try them.

        Those that rest come last, the one that has rested longest first.
        """
        known = dict.fromkeys(found)
        self._resting = {
            address: until for address, until in self._resting.items() if until > now and address in known
        }
        fit = [address for address in known if address not in self._resting]
        if len(fit) > 1:
            first = self._next % len(fit)
            self._next = first + 1
            fit = fit[first:] + fit[:first]
        return fit + sorted(self._resting, key=self._resting.__getitem__)

    def failed(self, address: Address, now: float) -> None:
        """Lets an address rest that took no connection."""
        self._resting[address] = now + self._rest_time

    def worked(self, address: Address) -> None:
        """Ends the rest of an address that took a connection."""
        self._resting.pop(address, None)
