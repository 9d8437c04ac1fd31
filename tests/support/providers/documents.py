"""A provider that has nothing but documents: discovery and keys."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from joserfc.jwk import ECKey

KEY_SET = {"keys": [ECKey.generate_key("P-256", {"use": "sig", "kid": "1"}).as_dict(private=False)]}


class Provider(ThreadingHTTPServer):
    """A provider that has nothing but documents."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Documents)
        self.issuer = f"http://127.0.0.1:{self.server_address[1]}"
        self.status = 200
        self.clock_ahead = 0.0  # seconds by which its Date is ahead of this machine's clock
        self.refusal: tuple[int, Any] = (400, {"error": "invalid_grant"})
        self.registered: list[str] = []  # redirect URIs of the client, for requests that are pushed to `/par`
        self.documents: dict[str, Any] = {
            "/.well-known/openid-configuration": {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/jwks",
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic"],
                "scopes_supported": ["openid", "profile", "email"],
            },
            "/jwks": KEY_SET,
        }

    @property
    def metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = self.documents["/.well-known/openid-configuration"]
        return found


class Documents(BaseHTTPRequestHandler):
    server: Provider

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The Date of an answer."""
        return super().date_time_string((timestamp or time.time()) + self.server.clock_ahead)

    def do_GET(self) -> None:
        body = json.dumps(self.server.documents.get(self.path)).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """Refuses: with what `refusal` says, and a pushed request unless its redirect URI is registered."""
        form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode())
        status, document = self.server.refusal
        if self.path == "/par":
            known = form["redirect_uri"][0] in self.server.registered
            status, document = (201, {}) if known else (400, {"error": "invalid_redirect_uri"})
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Says nothing."""


@contextmanager
def documents() -> Iterator[Provider]:
    """Runs such a provider."""
    server = Provider()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
