"""The session key and the client's secret change under load on two instances, and nobody is lost (S-09)."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bff.crypto import Keyring
from bff.settings.server_keys import parse_key
from tests.support.processes.command import bff, variables_for
from tests.support.processes.fleet import Fleet, Member, running_fleet
from tests.support.processes.redis import RedisServer
from tests.support.providers.rotating import RotatingProvider, rotating_provider
from tests.support.settings import KEY, secret
from tests.support.wait import PATIENCE, until

STEADY = 2
MORE = 4

pytestmark = pytest.mark.requirement("S-09")


@pytest.fixture
def provider() -> Iterator[RotatingProvider]:
    with rotating_provider() as provider:
        provider.client_secrets = frozenset({"hunter2"})
        yield provider


class Load:
    """What everybody got: those who are there all along, those whose tokens are over, and who signs in."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.answers: Counter[str] = Counter()
        self.done = asyncio.Event()
        self.signed_in: list[Member] = []

    async def steady(self, member: Member) -> None:
        number = 0
        while not self.done.is_set():
            await self._call("steady", member, number)
            number += 1

    async def newcomers(self) -> None:
        """Each needs the provider for its first call."""
        number = 0
        while not self.done.is_set():
            await self._call("newcomer", await self.fleet.member(expired=True), number)
            number += 1

    async def sign_ins(self) -> None:
        """Each begins at one instance and ends at the other, and is known to both."""
        number = 0
        while not self.done.is_set():
            member = await self.fleet.sign_in(worker=number % 2, finish=(number + 1) % 2)
            if member is None:
                self.answers["sign-in failed"] += 1
            else:
                self.signed_in.append(member)
                await self._call("signed in", member, number)
                await self._call("signed in", member, number + 1)
            number += 1

    async def _call(self, who: str, member: Member, number: int) -> None:
        answer = await self.fleet.call(member, worker=number % 2)
        self.answers[f"{who} {answer.status} {answer.code}".strip()] += 1

    async def goes_on(self) -> None:
        """Waits until everybody has had some more answers."""
        before = self.answers.copy()
        names = ("steady 200", "newcomer 200", "signed in 200")
        await until(lambda: all(self.answers[name] >= before[name] + MORE for name in names), PATIENCE)


@asynccontextmanager
async def loaded(fleet: Fleet) -> AsyncIterator[Load]:
    load = Load(fleet)
    members = [await fleet.member() for _ in range(STEADY)]
    async with asyncio.TaskGroup() as group:
        for member in members:
            group.create_task(load.steady(member))
        group.create_task(load.newcomers())
        group.create_task(load.sign_ins())
        try:
            await load.goes_on()
            yield load
            await load.goes_on()
        finally:
            load.done.set()  # a call that ends in the moment of a cancellation may take it for its own
    for number in range(2):
        for member in (*members, *load.signed_in[:STEADY]):
            assert 200 == (await fleet.call(member, worker=number)).status


async def everybody_says(fleet: Fleet, event: str, times: int = 1) -> None:
    await until(lambda: all(len(worker.lines(event)) >= times for worker in fleet.workers), PATIENCE)


async def test_under_load(redis_server: RedisServer, provider: RotatingProvider, tmp_path: Path) -> None:
    """`bff keys rotate`, then a new client secret: here first, and at the provider a while later.

    Only one instance looks at the files: the other has to find out by what it meets.
    """
    keys, hidden = secret(str(tmp_path / "keys"), KEY), secret(str(tmp_path / "secret"), "hunter2")
    sections: dict[str, Any] = {
        "server": {"reload_interval": "1h"},
        "session": {"keys": "", "keys_file": str(keys), "max_per_user": "off"},
        "provider": {"client_secret": "", "client_secret_file": str(hidden)},
    }
    environ = variables_for("https://id.example", "embedded", BFF_SESSION__KEYS_FILE=str(keys))
    del environ["BFF_SESSION__KEYS"]
    async with (
        running_fleet(redis_server, provider, tmp_path, valves=False, **sections) as fleet,
        loaded(fleet) as load,
    ):
        rotated = await asyncio.to_thread(bff, "keys", "rotate", environ=environ)
        assert 0 == rotated.returncode, rotated.stderr
        os.kill(fleet.workers[0].pid, signal.SIGHUP)
        await everybody_says(fleet, "server_keys_changed")
        await load.goes_on()
        newest = Keyring([parse_key(keys.read_text().splitlines()[0]).secret])
        assert newest.accepts(load.signed_in[-1].handle.encode())

        hidden.write_text("hunter3\n")
        os.kill(fleet.workers[0].pid, signal.SIGHUP)
        await until(lambda: len(fleet.workers[0].lines("settings_reloaded")) == 2, PATIENCE)
        await until(
            lambda: provider.refused_clients > 0, PATIENCE
        )  # the newer one, which it does not know yet
        await load.goes_on()
        provider.client_secrets = frozenset({"hunter3"})
        await everybody_says(fleet, "settings_reloaded", 2)
        await load.goes_on()
    assert {"steady 200", "newcomer 200", "signed in 200"} == set(load.answers)
    assert [] == [line for worker in fleet.workers for line in worker.lines("record_tampered")]
