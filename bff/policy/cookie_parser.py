r"""The parser of `Cookie` headers, by their bytes: the one that the guard and both fronts use. Pure.

Rule 1: a header is split on `;`, and only space and tab are stripped, as browsers do (RFC 6265bis 5.6).
Other parsers strip `\xa0` too, or unquote: a cookie that a sibling host planted then wins over ours.
Rule 2: nothing here chooses between two cookies of one name; the caller sees both, and takes neither.
"""

from collections.abc import Iterable

_BLANK = b" \t"


def cookie_values(headers: Iterable[bytes], name: bytes) -> list[bytes]:
    """All values that the given `Cookie` header values have for `name`, in their order, quotes and all."""
    found = []
    for header in headers:
        if header.find(name) < 0:  # at half the price of `in`
            continue
        for pair in header.split(b";"):
            key, equals, value = pair.partition(b"=")
            if equals and key.strip(_BLANK) == name:
                found.append(value.strip(_BLANK))
    return found


def only_value(header: bytes, name: bytes) -> bytes | None:
    """The value that one `Cookie` header has for `name`; None where it has none, or several."""
    begin = header.find(name)
    if begin < 0:
        return None
    end = begin + len(name)
    plain = header[end : end + 1] == b"=" and (begin == 0 or header[begin - 2 : begin] == b"; ")
    if plain and header.find(name, begin + 1) < 0:  # most often: what `cookie_values` finds, in one piece
        stop = header.find(b";", end)
        return header[end + 1 : stop if stop >= 0 else None].strip(_BLANK)
    values = cookie_values((header,), name)
    return values[0] if len(values) == 1 else None


def values_by_name(headers: Iterable[bytes], prefix: bytes) -> dict[bytes, list[bytes]]:
    """All values, as `cookie_values` gives them, of each cookie whose name begins with `prefix`."""
    found: dict[bytes, list[bytes]] = {}
    for header in headers:
        for pair in header.split(b";"):
            key, equals, value = pair.partition(b"=")
            if equals and key.strip(_BLANK).startswith(prefix):
                found.setdefault(key.strip(_BLANK), []).append(value.strip(_BLANK))
    return found
