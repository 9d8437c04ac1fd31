"""The command `bff` as a process of its own, with no variables but those that a test gives it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes.forked import BARE, Forked, forked
from tests.support.settings import KEY, PATIENCE


def bff(
    *arguments: str, cwd: Path | None = None, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs the command with no variables but these."""
    return forked(["bff", *arguments], cwd=cwd, env=BARE | (environ or {}))


def executed(*arguments: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs the command as a program that imports what it needs."""
    return subprocess.run(
        [sys.executable, "-m", "bff", *arguments],
        env=BARE | (environ or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def started(
    *arguments: str, environ: dict[str, str], stdin: int | None = None, out: int = subprocess.PIPE
) -> Iterator[subprocess.Popen[str]]:
    """Starts the command, and kills it if the test fails before it has ended."""
    child: Forked[str]
    with Forked(
        ["bff", *arguments], env=BARE | environ, text=True, stdin=stdin, stdout=out, stderr=out
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def variables_for(issuer: str, redis_url: str, *upstreams: str, **more: str) -> dict[str, str]:
    """Settings as environment variables; the routes lead to the upstreams. A slow Redis is no finding."""
    routes = [{"path": f"/api/{number}", "upstream": upstream} for number, upstream in enumerate(upstreams)]
    return {
        "BFF_SERVER__PUBLIC_URL": "http://localhost:8080",
        "BFF_SESSION__KEYS": KEY,
        "BFF_PROVIDER__ISSUER": issuer,
        "BFF_PROVIDER__CLIENT_ID": "spa",
        "BFF_PROVIDER__CLIENT_SECRET": "hunter2",
        "BFF_REDIS__URL": redis_url,
        "BFF_REDIS__TIMEOUT": f"{PATIENCE:g}s",
        "BFF_ROUTE": json.dumps(routes),
    } | more
