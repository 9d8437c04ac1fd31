"""What `bff check` says of the lists of revoked tokens that routes ask."""

from typing import Any

import pytest

from bff.embedded import free_port
from bff.serve.redis_check import look_at_revocations
from bff.settings.model import Settings
from tests.support.processes.redis import RedisServer

BEARER = {"path": "/api", "upstream": "http://b", "auth": "session or bearer", "bearer_audience": "a"}


def settings(*routes: dict[str, Any], frontend: dict[str, Any] | None = None) -> Settings:
    told: dict[str, Any] = {
        "server": {"public_url": "https://app.example.com"},
        "provider": {"issuer": "https://id.example.com", "client_id": "c"},
        "route": [BEARER | route for route in routes],
    }
    if frontend is not None:
        told["frontend"] = [frontend]
    return Settings.model_validate(told)


@pytest.mark.requirement("P-10")
async def test_each_list_is_asked_once(redis_server: RedisServer) -> None:
    """One that may not be asked, or is not there, is named by its host; a frontend's own routes count."""
    redis_server.cli("ACL", "SETUSER", "reader", "on", ">secret-of-it", "~issuer:revoked:*", "+exists")
    redis_server.cli("ACL", "SETUSER", "blind", "on", ">secret-of-it", "~*", "-@all")
    port, gone = redis_server.port, free_port()
    allowed, blind, away = (
        {"bearer_revocations": url}
        for url in (
            f"redis://reader:secret-of-it@127.0.0.1:{port}/0",
            f"redis://blind:secret-of-it@127.0.0.1:{port}/0",
            f"redis://127.0.0.1:{gone}/0",
        )
    )
    own = {"name": "shop", "public_url": "https://shop.example.com", "route": [BEARER | blind]}
    checks = await look_at_revocations(
        settings(allowed, allowed | {"path": "/more"}, away | {"path": "/x"}, {"path": "/y"}, frontend=own)
    )
    assert [(True, port), (False, gone), (False, port)] == [
        (check.ok, int(check.target.rpartition(":")[2].partition("/")[0])) for check in checks
    ]
    assert all(check.fix for check in checks if not check.ok)
    assert not any("redis.url" in check.fix or "secret-of-it" in repr(check) for check in checks)
    assert [] == await look_at_revocations(settings({}))
