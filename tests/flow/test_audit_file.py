"""The audit file of several real workers."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bff.crypto import Keyring, new_secret
from tests.support.processes.fleet import running_fleet
from tests.support.processes.redis import RedisServer
from tests.support.providers.rotating import RotatingProvider, rotating_provider

ATTACKS = 300


@pytest.fixture
def provider() -> Iterator[RotatingProvider]:
    with rotating_provider() as provider:
        yield provider


@pytest.mark.requirement("B-24", "B-27")
async def test_workers_share_one_file(
    redis_server: RedisServer, provider: RotatingProvider, tmp_path: Path
) -> None:
    """Each event of three workers is one whole line: a sign-in, a rotation, and a flood of forged cookies."""
    path = tmp_path / "audit" / "events.jsonl"
    path.parent.mkdir()
    async with running_fleet(
        redis_server, provider, tmp_path, workers=3, valves=False, log={"audit": str(path)}
    ) as fleet:
        member = await fleet.sign_in(0, 1)
        assert member is not None
        expired = await fleet.member(expired=True)
        assert 200 == (await fleet.call(expired, worker=2)).status
        forged = Keyring([new_secret()]).new_handle()
        refused = await asyncio.gather(*(fleet.call(forged, worker=turn % 3) for turn in range(ATTACKS)))
        assert {401} == {answer.status for answer in refused}
    text = path.read_text()
    events = [json.loads(line) for line in text.splitlines()]
    found = {event["event"]["action"]: event for event in events}
    assert ("alice", "127.0.0.1") == (found["signed_in"]["user"]["id"], found["signed_in"]["source"]["ip"])
    assert {"id": member.key[:12]} == found["signed_in"]["bff"]["session"]
    assert {"id": expired.key[:12]} == found["tokens_refreshed"]["bff"]["session"]
    rejected = [event for event in events if event["event"]["action"] == "handle_rejected"]
    assert ATTACKS == len(rejected)
    assert 3 == len({event["process"]["pid"] for event in rejected})
    for secret in (member.handle, expired.handle, forged, member.key[:13]):
        assert secret not in text
