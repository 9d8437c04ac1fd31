"""The client's address, as far as the proxies that report it are trusted.

Rule 1: `X-Forwarded-For` is read from its right end, and only as long as the one who wrote an entry is a
trusted proxy; addresses further left are hearsay and never passed on.
Rule 2: `MOST_HOPS` entries are read, the nearest ones, so that a long list costs no more than a short one.
The client of a longer chain of trusted proxies is the last of them that was read.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

UNKNOWN = "unknown"
"""The name of an address that nobody knows (RFC 7239 6.2)."""

MOST_HOPS: Final = 32
"""Entries of `X-Forwarded-For` that are read, from the right."""

_Address = IPv4Address | IPv6Address
_LONGEST = 128  # characters of an address with its zone and port; a longer text is none


def _parse(text: str) -> _Address | None:
    """An address, with or without a port; an IPv4 address in IPv6 clothes counts as IPv4."""
    return _parse_short(text) if len(text) <= _LONGEST else None


@lru_cache(maxsize=4096)
def _parse_short(text: str) -> _Address | None:
    host = text.strip(" \t")
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def client_address(
    peer: str | None, forwarded_for: Iterable[bytes], trusted: Sequence[IPv4Network | IPv6Network]
) -> str:
    """The address of the client, `unknown` where there is none.

    Args:
        peer: the address at the other end of the connection; None for a unix socket.
        forwarded_for: the values of all `X-Forwarded-For` headers, in their order.
        trusted: whose word counts.
    """
    address = None if peer is None else _parse(peer)
    if address is None:
        return UNKNOWN
    if not trusted:
        return str(address)
    entries = b",".join(forwarded_for).rsplit(b",", MOST_HOPS)
    for entry in entries[: -MOST_HOPS - 1 : -1]:
        if not any(address in network for network in trusted):
            break
        said = _parse(entry.decode("latin-1"))
        if said is None:
            break
        address = said
    return str(address)


def is_trusted(peer: str, trusted: Sequence[IPv4Network | IPv6Network]) -> bool:
    """Returns True if a peer is one of the trusted proxies."""
    address = _parse(peer)
    return address is not None and any(address in network for network in trusted)


def rate_key(address: str) -> str:
    """Returns an address as rate limits count it: an IPv6 client has a whole /64 to choose from."""
    parsed = _parse(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((parsed, 64), strict=False))
    return address
