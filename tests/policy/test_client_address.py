"""The client's address."""

from ipaddress import IPv4Network, ip_network

import pytest

from bff.policy.client_address import MOST_HOPS, client_address, is_trusted, rate_key

TRUSTED = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.requirement("B-17")
@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("9.9.9.9", [], "9.9.9.9"),
        ("9.9.9.9", [b"1.2.3.4"], "9.9.9.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [b"1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", [b"6.6.6.6, 1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", [b"6.6.6.6", b"1.2.3.4 , 10.0.0.9"], "1.2.3.4"),
        ("10.0.0.1", [b"10.0.0.7, 10.0.0.9"], "10.0.0.7"),
        ("10.0.0.1", [b"1.2.3.4:5678"], "1.2.3.4"),
        ("10.0.0.1", [b"[2001:db8::1]:443"], "2001:db8::1"),
        ("10.0.0.1", [b"2001:db8::1"], "2001:db8::1"),
        ("::ffff:10.0.0.1", [b"::ffff:1.2.3.4"], "1.2.3.4"),
        ("fd00::1%eth0", [b"1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", [b"1.2.3.4, evil"], "10.0.0.1"),
        ("10.0.0.1", [b"1.2.3.4,"], "10.0.0.1"),
        ("10.0.0.1", [b"\xff\r\nX: y"], "10.0.0.1"),
        (None, [b"1.2.3.4"], "unknown"),
        ("/run/socket", [], "unknown"),
    ],
)
def test_client_address(peer: str | None, forwarded_for: list[bytes], address: str) -> None:
    """Only what trusted proxies said counts, from the nearest outwards; a client cannot make itself up."""
    assert address == client_address(peer, forwarded_for, TRUSTED)


@pytest.mark.requirement("B-17")
def test_nobody_trusted() -> None:
    """Without trusted proxies the peer is the client."""
    assert "10.0.0.1" == client_address("10.0.0.1", [b"1.2.3.4"], [])


@pytest.mark.requirement("B-17", "H-15")
def test_a_long_text() -> None:
    """A text that is too long for an address is none."""
    assert "10.0.0.1" == client_address("10.0.0.1", [b"1.2.3.4%" + b"x" * 200], TRUSTED)


class Asked(IPv4Network):
    """A network that counts how often an address is looked for in it."""

    times = 0

    def __contains__(self, other: object) -> bool:
        self.times += 1
        return super().__contains__(other)


@pytest.mark.requirement("B-17", "H-15")
@pytest.mark.parametrize("values", [1, 100])
def test_a_long_list_costs_no_more_than_a_short_one(values: int) -> None:
    """The nearest entries are read, however many there are, in however many fields."""
    trusted = Asked("10.0.0.0/8")
    farthest = [b"10.0.9.9"] * (3_000 // values)
    nearest = b",".join(b"10.0.0.%d" % number for number in range(MOST_HOPS, 0, -1))
    fields = [b",".join(farthest)] * values
    assert f"10.0.0.{MOST_HOPS}" == client_address("10.0.0.99", [*fields, nearest], [trusted])
    assert MOST_HOPS == trusted.times


@pytest.mark.requirement("B-17")
@pytest.mark.parametrize(
    ("proxies", "address"),
    [(0, "1.2.3.4"), (MOST_HOPS - 1, "1.2.3.4"), (MOST_HOPS, "10.0.0.1"), (MOST_HOPS + 1, "10.0.0.1")],
)
def test_a_chain_of_trusted_proxies(proxies: int, address: str) -> None:
    """The client is found behind as many as are read; behind more it is the last one read."""
    chain = [b"6.6.6.6", b"1.2.3.4", *[b"10.0.0.1"] * proxies]
    assert address == client_address("10.0.0.2", [b", ".join(chain)], TRUSTED)


@pytest.mark.requirement("B-30")
@pytest.mark.parametrize(
    ("address", "key"),
    [("1.2.3.4", "1.2.3.4"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("unknown", "unknown")],
)
def test_rate_key(address: str, key: str) -> None:
    """An IPv6 client cannot avoid a limit by taking another address of its own network."""
    assert key == rate_key(address)


@pytest.mark.requirement("B-17")
@pytest.mark.parametrize(
    ("trusted", "peer"),
    [
        (True, "10.0.0.1"),
        (True, "::ffff:10.0.0.1"),
        (True, "fd00::1"),
        (False, "9.9.9.9"),
        (False, "/run/socket"),
    ],
)
def test_whose_word_counts(trusted: bool, peer: str) -> None:
    """A peer inside one of the networks, however its address is written; a peer without one never."""
    assert trusted is is_trusted(peer, TRUSTED)
