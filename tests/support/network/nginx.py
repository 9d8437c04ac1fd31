"""A private nginx."""

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@contextlib.contextmanager
def running_nginx(folder: Path, configuration: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Starts one, whose files lie in a folder; whoever needs it waits until it `listens`."""
    file = folder / "nginx.conf"
    file.write_text(configuration)
    assert NGINX is not None
    own = f"daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log warn;"
    process = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(file), "-g", own])
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def listens(port: int, address: str = "127.0.0.1") -> bool:
    """Return True if a server accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0
