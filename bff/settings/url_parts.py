"""The parts of URLs and paths among the settings: taken apart, put together and compared. Pure."""

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\.?"
)
"""A host name in ASCII."""

_SOCKET_PREFIX = "http://unix:"


def is_loopback(host: str) -> bool:
    """Returns True if a URL's host is this machine: `localhost`, a name under it, 127.0.0.0/8 or ::1."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761 6.3
        return True
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def split_public_url(url: str) -> tuple[str, str]:
    """Returns the origin of a frontend's public URL, and the path under which it lies, "" for none."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return scheme + separator + host, slash + path


def host_of(url: str) -> str:
    """Returns the host name of a URL, by which browsers keep cookies; "" where it has none."""
    parts = split_url(url)
    return (parts.hostname or "") if parts is not None else ""


def split_socket_url(url: str) -> tuple[str, str] | None:
    """The socket's path and the path prefix of `http://unix:/run/app.sock:/v1`; None for any other URL."""
    if not url.startswith(_SOCKET_PREFIX):
        return None
    path, _, prefix = url.removeprefix(_SOCKET_PREFIX).partition(":")
    return path, prefix


def joined(upstream: str, path: str) -> str:
    """The URL of a path at a backend."""
    if (local := split_socket_url(upstream)) is not None:
        return f"http://unix:{local[0]}:{local[1].rstrip('/')}{path}"
    return upstream.rstrip("/") + path


def under(path: str, prefix: str) -> bool:
    """Returns True if a path is the prefix or lies below it, by whole segments, ignoring case."""
    folded = path.partition("?")[0].lower()
    return folded == prefix.lower() or folded.startswith(prefix.lower().rstrip("/") + "/")


def split_url(url: str) -> SplitResult | None:
    """The parts of a URL with a plain host and no user; `None` for anything that parsers disagree about."""
    if not url.isascii() or re.search(r"[\x00-\x20\x7f\\]", url):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname
    except ValueError:
        return None
    if not host or "@" in parts.netloc or port == 0 or parts.netloc.endswith(":"):
        return None
    return parts if "[" in parts.netloc or HOST.fullmatch(host) else None


def has_dots(path: str) -> bool:
    """Returns True for a path with a segment `.` or `..`."""
    return any(segment in {".", ".."} for segment in path.split("/"))
