"""A cache of clients' addresses: what `bff.policy.client_address` says, most often without parsing.

Rule 1: peers and trusted proxies are remembered. A client that a proxy names is not, since there may be
another one with each call: where its address has the one spelling (`is_canonical`) nothing is parsed either.
"""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from bff.policy.client_address import MOST_HOPS, client_address, is_trusted
from bff.policy.forwarded_fields import CLIENT_LINES, client_lines

_MOST_PEERS = 1024  # that are kept: with trusted proxies, those
_LONGEST_ENTRY = 48  # characters of a proxy's entry in `X-Forwarded-For` that is kept
_LONGEST_CHAIN = 128  # characters of several entries


class ClientAddressCache:
    """The addresses of clients behind these trusted proxies."""

    def __init__(self, trusted_proxies: Sequence[IPv4Network | IPv6Network]) -> None:
        self._trusted = trusted_proxies
        self._peers: dict[str, tuple[str, bool]] = {}  # the address of each, and its being trusted
        self._proxies: set[bytes] = set()  # trusted ones, as they are named in entries
        self._chains: set[bytes] = set()  # the entries of trusted ones alone, as they stand behind a client's

    def client(self, peer: str, forwarded_for: Sequence[bytes]) -> str:
        """Returns the client's address; `forwarded_for` are the values of `X-Forwarded-For`."""
        address, trusted = self._peers.get(peer) or self._judge(peer)
        if not (trusted and forwarded_for):
            return address
        said = forwarded_for[0] if len(forwarded_for) == 1 else b",".join(forwarded_for)
        if said.count(b",") >= MOST_HOPS:
            return client_address(peer, forwarded_for, self._trusted)
        further, more, entry = said.rpartition(b",")
        while more and (entry in self._proxies or self._is_proxy(entry)):
            further, more, entry = further.rpartition(b",")
        if not more and is_canonical(address := entry.decode("latin-1")):
            self._keep_chain(said[len(entry) + 1 :])
            return address
        return client_address(peer, forwarded_for, self._trusted)

    def lines(self, peer: str, forwarded_for: Sequence[bytes]) -> bytes:
        """Returns `client_lines` of the client: most often without a look at the proxies one by one."""
        known = self._peers.get(peer)
        if known is not None and known[1] and len(forwarded_for) == 1:
            entry, comma, chain = forwarded_for[0].partition(b",")
            if not comma or chain in self._chains:
                address = entry.decode("latin-1")
                if ":" in address:
                    if is_canonical(address):
                        return client_lines(address)
                else:
                    try:  # `is_canonical`, a call less
                        inet_pton(AF_INET, address)
                    except (OSError, ValueError):
                        pass
                    else:
                        return CLIENT_LINES % (entry, entry)
        return client_lines(self.client(peer, forwarded_for))

    def _is_proxy(self, entry: bytes) -> bool:
        """Returns True if an entry, not the first, of `X-Forwarded-For` names a trusted proxy."""
        if len(entry) > _LONGEST_ENTRY or not is_trusted(entry.decode("latin-1"), self._trusted):
            return False
        if len(self._proxies) >= _MOST_PEERS:
            self._proxies.clear()
        self._proxies.add(entry)
        return True

    def _keep_chain(self, chain: bytes) -> None:
        if 0 < len(chain) <= _LONGEST_CHAIN and chain not in self._chains:
            if len(self._chains) >= _MOST_PEERS:
                self._chains.clear()
            self._chains.add(chain)

    def _judge(self, peer: str) -> tuple[str, bool]:
        if len(self._peers) >= _MOST_PEERS:
            self._peers.clear()
        known = self._peers[peer] = client_address(peer, (), ()), is_trusted(peer, self._trusted)
        return known


def is_canonical(text: str) -> bool:
    """Returns True if a text is surely an address in its one spelling, as `client_address` would return it.

    False where that takes `client_address` to find out. Much cheaper than parsing, for addresses that are
    new with each call.
    """
    try:
        if ":" in text:
            return "." not in text and inet_ntop(AF_INET6, inet_pton(AF_INET6, text)) == text
        inet_pton(AF_INET, text)
    except (OSError, ValueError):
        return False
    return True
