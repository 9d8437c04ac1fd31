"""The URL of a request, as a proof of possession names it (RFC 9449 4.3). Pure.

Two spellings of one URL are compared after the normalisation of RFC 3986 6.2.2 and 6.2.3: case of scheme,
host and percent-encoding, the default port, encoded characters that need no encoding, dot segments, an empty
path.
"""

import re
from urllib.parse import quote, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_ENCODED = re.compile("%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_IN_PATH = "/:@!$&'()*+,;=~%"
MAX_URL = 8 * 1024


def normal_url(text: str) -> str | None:
    """Returns an http(s) URL without query and fragment, normalised; None for everything else."""
    if len(text) > MAX_URL or not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        return None
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or not host or "@" in parts.netloc:
        return None
    shown = f"[{host}]" if ":" in host else host
    where = shown if port in (None, _DEFAULT_PORTS[parts.scheme]) else f"{shown}:{port}"
    return f"{parts.scheme}://{where}{_without_dots(_ENCODED.sub(_decoded, parts.path))}"


def url_of(scheme: str, host: str, path: str) -> str:
    """Returns the URL of a request, of which a server tells the parts; the path may be decoded or not."""
    return f"{scheme}://{host}{quote(path, safe=_IN_PATH)}"


def _decoded(found: "re.Match[str]") -> str:
    char = chr(int(found[1], 16))
    return char if char in _UNRESERVED else found[0].upper()


def _without_dots(path: str) -> str:
    """Removes the dot segments of an absolute path (RFC 3986 5.2.4)."""
    kept: list[str] = []
    segments = path.split("/")[1:] or [""]
    for number, segment in enumerate(segments, 1):
        last = number == len(segments)
        if segment == "..":
            del kept[-1:]
        if segment not in (".", ".."):
            kept.append(segment)
        elif last:
            kept.append("")
    return "/" + "/".join(kept)
