"""A web site that is not ours, with pages that mean no good."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar


class _Page(BaseHTTPRequestHandler):
    pages: ClassVar[dict[str, str]] = {}

    def do_GET(self) -> None:
        page = self.pages.get(self.path, "<!doctype html><title>foreign</title>").encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Says nothing."""


class ForeignSite:
    """Serves what `pages` holds, path by path; an unknown path is an empty page."""

    def __init__(self, port: int, pages: dict[str, str]) -> None:
        self.port = port
        self.pages = pages

    def at(self, host: str, path: str = "/") -> str:
        """The address of a page, by one of the names of this machine."""
        return f"http://{host}:{self.port}{path}"


@contextmanager
def foreign_site() -> Iterator[ForeignSite]:
    """A running site on a port of its own, on all of loopback's IPv4 names."""
    pages: dict[str, str] = {}
    handler = type("Page", (_Page,), {"pages": pages})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield ForeignSite(server.server_address[1], pages)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
