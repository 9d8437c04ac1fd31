r"""The rules for raw paths: characters and encodings that mean the same to every reader. Pure.

Rule 1: a path that two parsers could read differently is refused, never repaired: dot segments, `//`, `\`,
encoded or repeatedly encoded dots, slashes and backslashes, control characters, overlong UTF-8.
Rule 2: a route may opt in to encoded slashes and to double slashes; dot segments are refused all the same,
also those that decoding would bring about.
Rule 3: the cost of a judgement is bounded by the path's length, and the length by a setting.
"""

import re
from binascii import unhexlify
from collections.abc import Iterator
from typing import NamedTuple

LONGEST_PATH = 8 * 1024
"""The default limit of a path, in bytes."""

_DECODINGS = 4  # no honest client encodes more often, and each round costs the path's length
_UNUSUAL = re.compile(rb"[^A-Za-z0-9_~/-]")  # a path without any of these and without `//` is clean
_RAW_FORBIDDEN = re.compile(rb"[\x00-\x20\x7f-\xff#?\\]")
_QUERY_FORBIDDEN = re.compile(rb"[\x00-\x20\x7f-\xff#]")
_MALFORMED = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ENCODED = re.compile(rb"%[0-9A-Fa-f]{2}")
_ENCODED_RUN = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")
_FORBIDDEN_CODE = re.compile(rb"%(?:[01][0-9A-Fa-f]|7[Ff]|2[EeFf]|5[Cc])")
_FORBIDDEN_CODE_BUT_SLASHES = re.compile(rb"%(?:[01][0-9A-Fa-f]|7[Ff]|2[Ee])")
_OVERLONG = re.compile(rb"[\xc0\xc1]|\xe0[\x80-\x9f]|\xf0[\x80-\x8f]")
_ODD_SEGMENT = re.compile(rb"/(?:(?P<dots> *\.\.?) *(?:[;/]|\Z)|;)")
_PARAMETERS = re.compile(rb";[^/]*")
_SLASHES = re.compile(rb"/{2,}")


class PathRules(NamedTuple):
    """The paths that a route takes beyond plain ones."""

    encoded_slashes: bool = False  # %2F and %5C, passed on as they came
    double_slashes: bool = False  # except at the very beginning, where `//host` is another form of target


STRICT = PathRules()
LENIENT = PathRules(encoded_slashes=True, double_slashes=True)


def path_problem(raw_path: bytes, rules: PathRules = STRICT) -> str | None:
    """Returns why a raw path (without query) is refused; None for a clean one."""
    if not raw_path.startswith(b"/"):
        return "not an absolute path"
    if raw_path.startswith(b"//") or (not rules.double_slashes and b"//" in raw_path):
        return "empty segment"
    if not _UNUSUAL.search(raw_path):
        return None
    if _RAW_FORBIDDEN.search(raw_path):
        return "character that must be encoded"
    if _MALFORMED.search(raw_path):
        return "malformed percent-encoding"
    return _segments_problem(raw_path) or _encoding_problem(raw_path, rules)


def query_problem(query: bytes) -> str | None:
    """Returns why a query (without its `?`) is refused: control characters, blanks, `#`, no ASCII."""
    return "character in the query that must be encoded" if _QUERY_FORBIDDEN.search(query) else None


def _decoded(path: bytes) -> bytes:
    """The path, percent-decoded once; a `%` that begins no code stays."""
    return _ENCODED_RUN.sub(lambda run: unhexlify(run[0].replace(b"%", b"")), path)


def _segments_problem(path: bytes) -> str | None:
    """Dot segments and empty ones, also when dressed with parameters (`/..;/`) or blanks."""
    odd = _ODD_SEGMENT.search(path)
    if odd is None:
        return None
    return "empty segment with parameters" if odd["dots"] is None else "dot segment"


def _encoding_problem(path: bytes, rules: PathRules) -> str | None:
    """Returns the problem that one or more rounds of decoding would bring to light."""
    forbidden = _FORBIDDEN_CODE_BUT_SLASHES if rules.encoded_slashes else _FORBIDDEN_CODE
    for _ in range(_DECODINGS):
        if not _ENCODED.search(path):
            return None
        if forbidden.search(path):
            return "encoded dot, slash, backslash or control character"
        path = _decoded(path)
        if _OVERLONG.search(path):
            return "overlong UTF-8"
        if (problem := _segments_problem(path.replace(b"\\", b"/"))) is not None:
            return problem
    return "encoded too often"


def readings(path: bytes, rules: PathRules) -> Iterator[bytes]:
    r"""A clean path as backends may read it: decoded, parameters cut off.

    Where slashes may be encoded or doubled: also decoded again, `\` taken for `/`, and slashes merged.
    """
    if rules == STRICT:
        yield _PARAMETERS.sub(b"", _decoded(path))
        return
    for _ in range(_DECODINGS):
        reading = _PARAMETERS.sub(b"", path).replace(b"\\", b"/")
        yield reading
        yield _SLASHES.sub(b"/", reading)
        decoded = _decoded(path)
        if decoded == path:
            return
        path = decoded


def folded(path: bytes) -> bytes:
    """A path as the most lenient of backends would read it; for comparison only, never to be sent.

    A path that is encoded deeper than we look keeps its `%XX`.
    """
    for _ in range(_DECODINGS + 1):
        decoded = _decoded(path)
        if decoded == path:
            break
        path = decoded
    path = re.sub(rb"[\x00-\x20\x7f-\xa0]", b"", path).replace(b"\\", b"/").lower()
    segments: list[bytes] = []
    for segment in path.split(b"/"):
        name = segment.partition(b";")[0]
        if name == b"..":
            del segments[-1:]
        elif name not in {b"", b"."}:
            segments.append(name)
    return b"/" + b"/".join(segments)


def is_encoded(path: bytes) -> bool:
    """Returns True if there is a `%XX` in it."""
    return _ENCODED.search(path) is not None
