"""The client's address: what the rules say, whichever way it is found."""

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bff import client_address_cache
from bff.client_address_cache import ClientAddressCache, is_canonical
from bff.policy.client_address import MOST_HOPS, client_address
from bff.policy.forwarded_fields import client_lines

TRUSTED = [ip_network("127.0.0.0/8"), ip_network("2001:db8::/32")]
CACHES = {True: ClientAddressCache(TRUSTED), False: ClientAddressCache(())}

SPELLINGS = [
    b"198.51.100.7",
    b"127.0.0.2",
    b"198.51.100.07",
    b"198.51.100.7:80",
    b"198.51.100.256",
    b"2001:db8::7",
    b"::ffff:198.51.100.7",
    b"[2001:db8::1]:443",
    b"unknown",
    b"",
    b"1",
    b"0x7f.1",
    b"198.51.100.7\0",
    b"\xd9\xa1.2.3.4",
    b"198.51.100.7, 127.0.0.2",
    b" 198.51.100.7 ",
    b"198.51.100.7,127.0.0.2",
    b"198.51.100.7,",
    b",198.51.100.7",
    b"198.51.100.7,,127.0.0.2",
    b"2001:db9::7, 127.0.0.2",
    b"2001:0db9::7, 127.0.0.2",
    b"::ffff:198.51.100.7, 127.0.0.2",
    b"6.6.6.6, 198.51.100.7, 127.0.0.2",
    b"198.51.100.7, 127.0.0.2, 127.0.0.3:80",
    b"198.51.100.7, " + b"1" * 60,
]
ADDRESSES = st.sampled_from(SPELLINGS)


@pytest.mark.requirement("B-17", "H-15")
@given(
    st.sampled_from(["127.0.0.1", "203.0.113.9", "2001:db8::1", "::ffff:127.0.0.1", "unknown"]),
    st.lists(st.one_of(ADDRESSES, st.binary(max_size=12)), max_size=3),
    st.booleans(),
)
@example("127.0.0.1", [b"198.51.100.7"], True)
@example("127.0.0.1", [b"198.51.100.7,"], True)  # a proxy has added the name of nobody to a client's word
def test_an_address_is_what_the_rules_say(peer: str, said: list[bytes], trusts: bool) -> None:
    """From trusted peers and others, in any spelling, one field or several: and the next time as well."""
    for _ in range(2):
        expected = client_address(peer, said, TRUSTED if trusts else ())
        assert expected == CACHES[trusts].client(peer, said)
        assert client_lines(expected) == CACHES[trusts].lines(peer, said)


@pytest.mark.requirement("B-17", "H-15")
@pytest.mark.parametrize("said", SPELLINGS)
def test_each_spelling(said: bytes) -> None:
    """Alone, from a trusted peer: it takes the short way wherever there is one."""
    cache = ClientAddressCache(TRUSTED)
    for _ in range(2):
        expected = client_address("127.0.0.1", [said], TRUSTED)
        assert expected == cache.client("127.0.0.1", [said])
        assert client_lines(expected) == cache.lines("127.0.0.1", [said])


def test_a_proxy_that_is_named_otherwise_each_time_keeps_no_place_from_others() -> None:
    """However many ports proxies are named with, few entries are kept, and the next ones still are."""
    cache = ClientAddressCache(TRUSTED)
    for port in range(client_address_cache._MOST_PEERS + 10):
        assert "198.51.100.7" == cache.client("127.0.0.1", [b"198.51.100.7, 127.0.0.2:%d" % port])
    assert "198.51.100.7" == cache.client("127.0.0.1", [b"198.51.100.7, 127.0.0.3"])
    assert b" 127.0.0.3" in cache._proxies
    assert len(cache._proxies) <= client_address_cache._MOST_PEERS


@pytest.mark.requirement("B-17")
@pytest.mark.parametrize("proxy", [b"::", b"127.0.0.2", b" 127.0.0.2"])
@pytest.mark.parametrize("client", [b"198.51.100.7", b"2001:db9::7", b"198.51.100.07", b"no address"])
def test_a_chain_of_proxies_that_is_known(proxy: bytes, client: bytes) -> None:
    """Chains of trusted proxies, up to one too long to be read: the client is the same as without memory."""
    trusted = [*TRUSTED, ip_network("::/128")]
    cache = ClientAddressCache(trusted)
    for hops in range(MOST_HOPS + 2):
        for first in (b"198.51.100.8", client):
            said = [b",".join([first, *[proxy] * hops])]
            for peer in ("127.0.0.1", "203.0.113.9", "127.0.0.1"):
                expected = client_address(peer, said, trusted)
                assert expected == cache.client(peer, said)
                assert client_lines(expected) == cache.lines(peer, said)


def test_chains_are_bounded() -> None:
    """However many ports proxies are named with, few chains are kept, and of trusted proxies alone."""
    cache = ClientAddressCache(TRUSTED)
    for port in range(client_address_cache._MOST_PEERS + 10):
        cache.client("127.0.0.1", [b"198.51.100.7, 127.0.0.2:%d" % port])
    cache.client("127.0.0.1", [b"198.51.100.7, 203.0.113.1, 127.0.0.2"])
    long = b", ".join([b"198.51.100.7", *[b"127.0.0.2:65535"] * (MOST_HOPS - 1)])
    assert "198.51.100.7" == cache.client("127.0.0.1", [long])
    assert max(map(len, cache._chains)) <= client_address_cache._LONGEST_CHAIN
    assert len(cache._chains) > 0
    assert len(cache._chains) <= client_address_cache._MOST_PEERS
    assert not any(b"203" in chain for chain in cache._chains)


@pytest.mark.requirement("B-17")
@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("1.2.3.4", True),
        ("2001:db8::1", True),
        ("::", True),
        ("1.2.3.04", False),
        ("1.2.3", False),
        ("1.2.3.4:80", False),
        (" 1.2.3.4", False),
        ("1.2.3.4\0", False),
        ("2001:0db8::1", False),
        ("2001:DB8::1", False),
        ("2001:db8::1%eth0", False),
        ("::ffff:1.2.3.4", False),
        ("::ffff:102:304", False),
        ("", False),
    ],
)
def test_one_spelling(text: str, canonical: bool) -> None:
    """An address in its one spelling is returned as it is; any other text is not taken for one."""
    assert canonical is is_canonical(text)
    assert canonical is (text == client_address("127.0.0.1", [text.encode()], TRUSTED))


@given(st.ip_addresses(), st.booleans())
def test_canonical_addresses(address: IPv4Address | IPv6Address, exploded: bool) -> None:
    """No text counts as canonical unless the address is written so."""
    text = address.exploded if exploded else str(address)
    if is_canonical(text):
        assert text == client_address("127.0.0.1", [text.encode()], TRUSTED)
