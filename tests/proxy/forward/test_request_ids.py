"""The client's address: what the rules say, whichever way it is found."""

from ipaddress import ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bff.policy.client_address import client_address
from bff.proxy.forward.request_ids import RequestIdMaker

TRUSTED = [ip_network("127.0.0.0/8"), ip_network("2001:db8::/32")]
MAKERS = {True: RequestIdMaker(TRUSTED), False: RequestIdMaker(())}

ADDRESSES = st.sampled_from(
    [
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
    ]
)


@pytest.mark.requirement("B-17", "H-15")
@given(
    st.sampled_from(["127.0.0.1", "203.0.113.9", "2001:db8::1", "::ffff:127.0.0.1", "unknown"]),
    st.lists(st.one_of(ADDRESSES, st.binary(max_size=12)), max_size=3),
    st.booleans(),
)
@example("127.0.0.1", [b"198.51.100.7"], True)
def test_an_address_is_what_the_rules_say(peer: str, said: list[bytes], trusts: bool) -> None:
    """From trusted peers and others, in any spelling, one field or several: and the next time as well."""
    for _ in range(2):
        expected = client_address(peer, said, TRUSTED if trusts else ())
        assert expected == MAKERS[trusts].client(peer, said)
