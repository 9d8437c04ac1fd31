"""The parts of an HTTP request that the check of its token looks at; taken from ASGI and WSGI."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .http_url import url_of

_HTTP = {"ws": "http", "wss": "https"}


@dataclass(frozen=True, slots=True, repr=False)
class RequestParts:
    """A request as its backend sees it.

    Attributes:
        method: such as "GET"; that of a WebSocket's handshake is GET.
        url: scheme, host and path, as the client asked for it; the query does not count.
        headers: names and values of its header fields, a repeated one as often as it came.
        certificate: the client's certificate of its TLS connection, in DER or PEM, where the server tells it.
    """

    method: str
    url: str
    headers: Sequence[tuple[str, str]]
    certificate: bytes | str | None = None

    def values(self, name: str) -> list[str]:
        """Returns the values of a header field."""
        wanted = name.lower()
        return [value for field, value in self.headers if field.lower() == wanted]

    @classmethod
    def of_scope(cls, scope: Mapping[str, Any]) -> "RequestParts":
        """Returns the parts of an ASGI connection, HTTP or WebSocket."""
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        scheme = str(scope.get("scheme", "http"))
        raw = scope.get("raw_path")
        path = raw.decode("latin-1") if raw else str(scope.get("path", "/"))
        host = next((value for name, value in headers if name.lower() == "host"), "")
        url = url_of(_HTTP.get(scheme, scheme), host, path)
        return cls(scope.get("method", "GET"), url, headers)

    @classmethod
    def of_environ(cls, environ: Mapping[str, Any]) -> "RequestParts":
        """Returns the parts of a WSGI request. A repeated field comes as one, with commas between."""
        headers = [
            (name[5:].replace("_", "-").lower(), str(value))
            for name, value in environ.items()
            if name.startswith("HTTP_")
        ]
        # Beside the decoded path most servers tell the one that was sent.
        raw = str(environ.get("RAW_URI") or environ.get("REQUEST_URI") or "")
        path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}".encode("latin-1", "replace")
        sent = raw.partition("?")[0] if raw.startswith("/") else _quotable(path)
        host = str(environ.get("HTTP_HOST", ""))
        url = url_of(str(environ.get("wsgi.url_scheme", "http")), host, sent)
        return cls(str(environ.get("REQUEST_METHOD", "GET")), url, headers)


def _quotable(path: bytes) -> str:
    """The path with its percent signs encoded: in a decoded path they stand for themselves."""
    return path.replace(b"%", b"%25").decode("utf-8", "replace")
