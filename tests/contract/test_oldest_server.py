"""The oldest server that is served, Redis 6.2: it knows all that is sent.

The tests of the store and of the near cache run on a Redis 6.2 where a package has one (`ON_EACH_SERVER`).
"""

import re

import pytest

from bff.embedded import OLDEST_SERVED
from tests.structure.source import ROOT
from tests.support.processes.redis import RedisServer

_ALLOWED = re.compile(r"\+([a-z]+)(?:\|([a-z-]+))?")
_CALLED = re.compile(r"redis\.call\('([A-Z]+)'")


def allowed() -> set[str]:
    """The commands of the accounts in `config/users.acl`: other tests show that nothing else is needed."""
    users = [
        line for line in (ROOT / "config" / "users.acl").read_text().splitlines() if line.startswith("user")
    ]
    return {"|".join(filter(None, found)) for line in users for found in _ALLOWED.findall(line)}


def called() -> set[str]:
    """The commands in the scripts."""
    sources = (path.read_text() for path in (ROOT / "bff").rglob("*.py"))
    return {name.lower() for source in sources for name in _CALLED.findall(source)}


@pytest.mark.parametrize("redis_server", ["packaged"], indirect=True)
def test_every_command_is_as_old_as_the_oldest_server(redis_server: RedisServer) -> None:
    """A newer server says since when there has been each command that the accounts may run."""
    names = allowed() | called()
    assert {"evalsha", "hmget", "client|tracking", "zrandmember", "wait"} <= names
    with redis_server.client() as client:
        client.response_callbacks.clear()
        since = {name: dict(client.execute_command("COMMAND DOCS", name)[name]) for name in sorted(names)}
    newer = {
        name: told["since"]
        for name, told in since.items()
        if tuple(int(part) for part in told["since"].split(".")[:2]) > OLDEST_SERVED
    }
    assert {} == newer
