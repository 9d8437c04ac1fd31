"""The backup of how-to/redis.md, taken and restored with a real redis-server."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.signed_in import SignIn, sessions, sign_in
from tests.docs.pages import section
from tests.support.processes.redis import RedisServer

SECTION = section("how-to/redis.md", "Back up and restore")
BACKUP, RESTORE = re.findall(r"^```sh[^\n]*\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)[:2]
NEW_LOG = next(line for line in RESTORE.splitlines() if line.startswith("redis-cli"))
PEOPLE = (SignIn("alice"), SignIn("bob"))


def run(server: RedisServer, command: str, folder: Path) -> None:
    """Runs a line of the page in a folder, against this server."""
    assert server.cli_path is not None
    command = re.sub(r"\bredis-cli\b", f"{server.cli_path} -p {server.port}", command)
    subprocess.run(["sh", "-euc", command], capture_output=True, check=True, timeout=60, cwd=folder)


@pytest.mark.requirement("S-06")
def test_a_backup_brings_all_sessions_back(redis_server: RedisServer, tmp_path: Path) -> None:
    """One that had ended since is open again, as the page warns, and is ended again by its name."""
    if redis_server.cli_path is None:
        pytest.skip("no redis-cli")
    alice, bob = (made.id for made in sign_in(redis_server, PEOPLE))
    with redis_server.client() as client:
        client.config_set("appendonly", "yes")
        folder = Path(client.config_get("dir")["dir"])
    run(redis_server, BACKUP, tmp_path)
    assert 0 == sessions(redis_server, "end", alice).returncode
    redis_server.stop(keep_data=False)
    shutil.move(folder / "appendonlydir", folder / "appendonlydir.before")
    shutil.copy(tmp_path / "bff.rdb", folder / "dump.rdb")
    redis_server.start()
    run(redis_server, NEW_LOG, tmp_path)
    assert {alice, bob} == names(redis_server)
    assert 0 == sessions(redis_server, "end", alice).returncode
    assert {bob} == names(redis_server)
    with redis_server.client() as client:
        assert "yes" == client.config_get("appendonly")["appendonly"]


def names(server: RedisServer) -> set[str]:
    """The sessions that `bff sessions list` shows."""
    return {line.split()[0] for line in sessions(server, "list").stdout.splitlines()[1:]}
