"""The check of the URLs and paths among the settings: those that are accepted, and mistakes in others. Pure.

Each function returns `None` for a good value, else a pair: the mistake and the remedy.
"""

import re
from ipaddress import ip_address

from bff.settings.url_parts import HOST, has_dots, is_loopback, split_socket_url, split_url

Complaint = tuple[str, str]

_BASE_PATH = re.compile(r"(?=.{2,64}\Z)(?:/[A-Za-z0-9_-]+)+")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_PATH = re.compile(r"(?:/[A-Za-z0-9_~.-]+)*/?")
_SOCKET_PATH = re.compile(r"(?:/[A-Za-z0-9_.@~+-]+)+")
_SOCKET_PATH_MAX = 107  # bytes: what the kernel's address holds
_RESOURCE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[\x21\x24-\x3b\x3d\x3f-\x5b\x5d\x5f\x61-\x7a\x7e]+")
_LOCAL_PATH = re.compile(r"/(?!/)[A-Za-z0-9_~.!$&'()*+,;=:@/-]*(?:\?[A-Za-z0-9_~.!$&'()*+,;=:@/?%-]*)?")


def public_url_complaint(url: str) -> Complaint | None:
    """`server.public_url`: an origin and nothing else; https, or http on loopback."""
    example = 'write scheme and host only, like "https://app.example.com"'
    parts = split_url(url)
    if parts is None or parts.scheme not in {"http", "https"}:
        return "is not an http or https URL", example
    if parts.path or parts.query or parts.fragment or "?" in url or "#" in url:
        fix = f"{example}; a path goes into server.base_path" if parts.path.strip("/") else example
        return "must be an origin: no path, no query, and no slash at the end", fix
    if url != url.lower():
        return "must be in lower case, as browsers send it", f'write it as "{url.lower()}"'
    if parts.port == _DEFAULT_PORTS[parts.scheme]:
        return (
            f"names the port that {parts.scheme} has anyway, which browsers leave out",
            "leave the port out",
        )
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        return (
            "is plain http: cookies and tokens would travel in the clear",
            "use https; plain http is accepted on localhost, 127.0.0.0/8 and [::1] only",
        )
    return None


def base_path_complaint(path: str) -> Complaint | None:
    """`server.base_path`: empty, or plain segments that a cookie's name can hold."""
    if path and not _BASE_PATH.fullmatch(path):
        return (
            "is not a plain path without a slash at its end",
            'write it like "/shop", of letters, digits, _ and -; "" is all of the origin',
        )
    if _is_under_bff(path):
        return "lies under /bff, which would be ambiguous", 'choose another path, like "/shop"'
    return None


def issuer_complaint(url: str) -> Complaint | None:
    """The name of an issuer: a URL without query and fragment (OpenID Connect Discovery 1.0, 4.1)."""
    parts = split_url(url)
    if parts is None or parts.scheme not in {"http", "https"}:
        return (
            "is not an http or https URL",
            'copy "issuer" from the provider\'s /.well-known/openid-configuration',
        )
    if "?" in url or "#" in url:
        return "has a query or a fragment", "write it exactly as the provider's metadata has it, without them"
    if "/.well-known/" in parts.path:
        return (
            "is the address of a discovery document, and not the issuer's name",
            'write what stands there as "issuer": most often the part before /.well-known/',
        )
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        return (
            "is plain http: the client secret and tokens would travel in the clear",
            "use https; plain http is accepted on localhost, 127.0.0.0/8 and [::1] only",
        )
    return None


def endpoint_complaint(url: str) -> Complaint | None:
    """An address at the provider: an https URL without a fragment, that may have a query."""
    parts = split_url(url)
    if parts is None or parts.scheme not in {"http", "https"} or "#" in url:
        return (
            "is not an https URL without a fragment",
            'write it like "https://id.example.com/oauth2/revoke"',
        )
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        return (
            "is plain http: the client secret and tokens would travel in the clear",
            "use https; plain http is accepted on localhost, 127.0.0.0/8 and [::1] only",
        )
    return None


def upstream_complaint(url: str) -> Complaint | None:
    """`route.upstream`: http or https, a host or a Unix socket, and perhaps a path prefix."""
    example = 'write it like "http://orders:8000" or "https://orders.internal/v1"'
    if url.startswith(("unix:", "https://unix:")) or split_socket_url(url) is not None:
        return _socket_complaint(url)
    parts = split_url(url)
    if parts is None or parts.scheme not in {"http", "https"}:
        return "is not an http or https URL", example
    if "?" in url or "#" in url:
        return "has a query or a fragment, which a prefix cannot have", example
    if not _PATH.fullmatch(parts.path) or has_dots(parts.path):
        return (
            "has a path that could be read in two ways",
            "write plain segments: letters, digits, and . _ ~ -",
        )
    return None


def host_complaint(name: str) -> Complaint | None:
    """`route.server_name`: a host name, or an address without brackets."""
    try:
        ip_address(name)
    except ValueError:
        if not HOST.fullmatch(name):
            return "is not a host name", 'write it like "orders.internal"'
    return None


def _socket_complaint(url: str) -> Complaint | None:
    example = 'write it like "http://unix:/run/orders.sock" or "http://unix:/run/orders.sock:/v1"'
    found = split_socket_url(url)
    if found is None:
        return "does not name a Unix socket the way it is written here", example
    path, prefix = found
    if not _SOCKET_PATH.fullmatch(path) or has_dots(path):
        return "has no plain absolute path of a socket", example
    if len(path) > _SOCKET_PATH_MAX:
        return f"has a socket's path of more than {_SOCKET_PATH_MAX} bytes", "choose a shorter one"
    if not _PATH.fullmatch(prefix) or has_dots(prefix):
        return "has a path behind the socket's that could be read in two ways", example
    return None


def spa_url_complaint(url: str) -> Complaint | None:
    """`spa.url`: the origin of a development server."""
    parts = split_url(url)
    if (
        parts is None
        or parts.scheme not in {"http", "https"}
        or parts.path not in {"", "/"}
        or "?" in url
        or "#" in url
    ):
        return "is not the origin of a server", 'write it like "http://127.0.0.1:5173"'
    return None


def proxy_complaint(url: str) -> Complaint | None:
    """`provider.proxy`: http or https, a host, perhaps user and password; the texts never repeat it."""
    if url == "environment":
        return None
    scheme, _, rest = url.partition("://")
    parts = split_url(f"{scheme}://{rest.rpartition('@')[2]}")
    if parts is None or parts.scheme not in {"http", "https"} or parts.path not in {"", "/"}:
        parts = None
    if parts is None or "?" in url or "#" in url:
        return (
            "is not the http or https URL of a proxy",
            'write it like "http://proxy:3128", or "environment"; encode @ : / in passwords',
        )
    return None


def route_path_complaint(path: str) -> Complaint | None:
    """`route.path`: whole plain segments, below the root, and not ours."""
    if path == "/":
        return (
            "would take every page: nothing would be left to return to after sign-in",
            "give the backend a prefix of its own, like /api; pages come from [spa]",
        )
    if not path.startswith("/"):
        return "does not begin with a slash", f'write it like "/{path}"'
    if path.endswith("/"):
        return (
            "ends with a slash",
            f'write "{path.rstrip("/") or "/api"}": it covers everything below as well',
        )
    if not _PATH.fullmatch(path) or has_dots(path):
        return (
            "could be read in two ways",
            "write plain segments (letters, digits, . _ ~ -): a path covers all below it, without a pattern",
        )
    if _is_under_bff(path):
        return "lies under /bff, where the proxy's own endpoints live", "choose another prefix"
    return None


def local_path_complaint(path: str) -> Complaint | None:
    """`provider.post_logout_path` and `spa.error_page`: a path on this origin."""
    if not _LOCAL_PATH.fullmatch(path) or "//" in path or has_dots(path.partition("?")[0]):
        return "is not a plain path on this site", 'write it like "/" or "/signed-out"'
    if _is_under_bff(path):
        return "lies under /bff, where no page is", 'write it like "/" or "/signed-out"'
    return None


def resource_complaint(uri: str) -> Complaint | None:
    """An item of `provider.resource`: an absolute URI without a fragment (RFC 8707 2)."""
    if not _RESOURCE.fullmatch(uri):
        return "is not an absolute URI without a fragment", 'write it like "https://api.example.com/"'
    return None


def _is_under_bff(path: str) -> bool:
    return path.lower() == "/bff" or path.lower().startswith("/bff/")
