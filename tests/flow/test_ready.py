"""`/readyz` of real processes whose provider or Redis is away, and what they serve meanwhile."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bff.oidc.document_cache import PAUSE
from tests.support.processes.fleet import Fleet, running_fleet
from tests.support.processes.redis import RedisServer
from tests.support.providers.rotating import RotatingProvider, rotating_provider
from tests.support.wait import until_async


@pytest.fixture
def provider() -> Iterator[RotatingProvider]:
    with rotating_provider() as provider:
        yield provider


async def readyz(fleet: Fleet) -> tuple[int, dict[str, bool]]:
    """The status, and each check by its name."""
    async with httpx.AsyncClient(timeout=60) as client:
        answer = await client.get(f"http://127.0.0.1:{fleet.workers[0].ops_port}/readyz")
    return answer.status_code, {check["name"]: check["ok"] for check in answer.json()["checks"]}


async def is_ready(fleet: Fleet) -> bool:
    """True where Redis is usable, and nothing else stands in the way."""
    status, checks = await readyz(fleet)
    return (200, True) == (status, checks["redis"])


@pytest.mark.requirement("S-12")
async def test_a_process_started_without_its_provider(
    redis_server: RedisServer, provider: RotatingProvider, tmp_path: Path
) -> None:
    """It is ready, serves the sessions there are, says that sign-ins wait, and signs in when it is back."""
    provider.stop()
    async with running_fleet(
        redis_server, provider, tmp_path, workers=1, valves=False, clocked=True
    ) as fleet:
        member = await fleet.member()
        assert 200 == (await fleet.call(member, worker=0)).status
        status, checks = await readyz(fleet)
        assert (200, True, False) == (status, checks["redis"], checks["provider"])
        assert await fleet.sign_in(worker=0) is None
        provider.start()
        fleet.workers[0].set_clock(PAUSE + 1)
        assert await fleet.sign_in(worker=0) is not None
        status, checks = await readyz(fleet)
        assert (200, True) == (status, checks["provider"])


@pytest.mark.requirement("S-12", "T-10")
@pytest.mark.parametrize("without", [False, True])
async def test_redis_is_away(
    redis_server: RedisServer, provider: RotatingProvider, tmp_path: Path, without: bool
) -> None:
    """Not ready, unless `ready_without_redis` says so; calls get our own 503, and all comes back."""
    server = {"ready_without_redis": without}
    async with running_fleet(
        redis_server, provider, tmp_path, workers=1, valves=False, server=server
    ) as fleet:
        member = await fleet.member()
        assert await is_ready(fleet)
        redis_server.stop()
        status, checks = await readyz(fleet)
        assert (200 if without else 503, False) == (status, checks["redis"])
        answer = await fleet.call(member, worker=0)
        assert (503, "store_unavailable") == (answer.status, answer.code)
        redis_server.start()
        await until_async(lambda: is_ready(fleet))
        assert 200 == (await fleet.call(member, worker=0)).status
