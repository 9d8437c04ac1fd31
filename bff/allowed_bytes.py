"""The check that a text holds no bytes but those allowed, by a table for `bytes.translate`. Pure.

`text.translate(table) == text` costs a third of a pattern, and half of `translate` with bytes to delete: a
text whose bytes are all allowed comes back as the very same object, and no copy is made of it.
"""

from collections.abc import Collection


def allowing(allowed: Collection[int]) -> bytes:
    """Returns a table for `translate` that leaves the allowed bytes as they are, and changes each other."""
    return bytes(byte if byte in allowed else byte ^ 0x80 for byte in range(256))
