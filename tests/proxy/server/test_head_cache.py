"""What a process remembers of heads that it let in."""

from bff.policy.fields import Fields
from bff.proxy.server import head_cache as known_fields
from bff.proxy.server.head_cache import HeadCache

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def test_fields_are_known_by_peer_and_bytes() -> None:
    """Nothing is taken for what came from elsewhere, or was a byte different."""
    heads = HeadCache[bytes]()
    fields = Fields([(b"host", b"a")])
    known = heads.add("192.0.2.1", HEAD, fields)
    assert known is heads.get("192.0.2.1", b"\r\nHost: a\r\n\r\n")
    assert fields is known.fields
    assert None is heads.get("192.0.2.2", b"\r\nHost: a\r\n\r\n")
    assert None is heads.get("192.0.2.1", b"\r\nHost: b\r\n\r\n")
    assert None is heads.get("192.0.2.1", b"\r\nHost: a\r\n\r\nx")


def test_what_strangers_send_is_kept_within_bounds() -> None:
    """Ten thousand different heads leave as many behind as are kept, and long ones none."""
    heads = HeadCache[bytes]()
    for number in range(10_000):
        heads.add("192.0.2.1", b"GET / HTTP/1.1\r\nX: %d\r\n\r\n" % number, Fields([]))
    assert known_fields._MOST_HEADS == len(heads._known)
    assert None is not heads.get("192.0.2.1", b"\r\nX: 9999\r\n\r\n")
    assert None is heads.get("192.0.2.1", b"\r\nX: 0\r\n\r\n")
    raw = b"\r\nX: " + b"x" * 5000 + b"\r\n\r\n"
    known = heads.add("192.0.2.1", b"GET / HTTP/1.1" + raw, Fields([]))
    assert raw == known.raw
    assert None is heads.get("192.0.2.1", raw)
