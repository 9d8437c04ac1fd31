"""The table of allowed bytes."""

from bff.allowed_bytes import allowing


def test_each_byte() -> None:
    """A text comes back as it was, the same object, if all of it is allowed; each other byte is changed."""
    allowed = b"abc\x00\x80\xff"
    table = allowing(allowed)
    assert allowed.translate(table) is allowed
    for byte in range(256):
        text = bytes([0x61, byte])
        assert (byte in allowed) == (text.translate(table) == text)
