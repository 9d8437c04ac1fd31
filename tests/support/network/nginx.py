"""A private nginx."""

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.network.programs import of_the_system, program

_BROTLI = Path("/usr/lib/nginx/modules/ngx_http_brotli_filter_module.so")


def brotli_module() -> Path | None:
    """The module for Brotli, which Debian has for its own nginx alone."""
    return _BROTLI if of_the_system("nginx") and _BROTLI.exists() else None


def directives(folder: Path) -> str:
    """The main part of a configuration, for an nginx whose files lie in a folder."""
    own = f"daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log warn;"
    # Its processes would give root's rights up, and then a test's folder is closed to them.
    return f"{own} user root;" if os.geteuid() == 0 else own


@contextlib.contextmanager
def running_nginx(folder: Path, configuration: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Starts one, whose files lie in a folder; whoever needs it waits until it `listens`."""
    file = folder / "nginx.conf"
    file.write_text(configuration)
    process = subprocess.Popen(
        [program("nginx"), "-p", str(folder), "-c", str(file), "-g", directives(folder)]
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def listens(port: int, address: str = "127.0.0.1") -> bool:
    """Return True if a server accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0
