"""Settings that change under load, over real workers: no request fails, and all workers take the same."""

import asyncio
import itertools
import os
import re
import resource
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serve.service import Service, service
from tests.serve.test_rolling_restart import handle_in
from tests.support.network.backend import Received, Reply, backend
from tests.support.network.tls import self_signed
from tests.support.processes.fleet import CSRF
from tests.support.processes.redis import RedisServer
from tests.support.wait import PATIENCE, until

CALLERS, PAUSE = 4, 0.02  # seconds: 200 calls in a second

pytestmark = pytest.mark.requirement("P-02", "S-10")


@dataclass
class Load:
    """Calls to some paths, each by the session of somebody who is signed in; the answers are counted."""

    url: str
    handle: str
    paths: list[str]
    host: str = "app.localhost"
    cookie: str = "bff"
    answers: Counter[tuple[str, Any]] = field(default_factory=Counter)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with (
            httpx.AsyncClient(base_url=self.url, timeout=PATIENCE) as client,
            asyncio.TaskGroup() as group,
        ):
            done = asyncio.Event()
            for _ in range(CALLERS):
                group.create_task(self._call(client, done))
            try:
                yield
            finally:
                done.set()  # a call that ends in the moment of a cancellation may take it for its own

    async def _call(self, client: httpx.AsyncClient, done: asyncio.Event) -> None:
        """Calls at a fixed pace, however long answers take; one that comes late is made up for."""
        headers = {"Host": self.host, "Cookie": f"{self.cookie}={self.handle}", **CSRF}
        begun = (clock := asyncio.get_running_loop().time)()
        for number in itertools.count():
            if done.is_set():
                return
            path = self.paths[number % len(self.paths)]
            try:
                answer = await client.post(f"{path}/x", content=b"{}", headers=headers)
                said: Any = answer.status_code
            except httpx.TransportError as error:
                said = repr(error)
            self.answers[path, said] += 1
            await asyncio.sleep(begun + (number + 1) * PAUSE - clock())

    async def more(self, count: int = 40) -> None:
        """Waits for so many more answers."""
        due = self.answers.total() + count
        await until(lambda: self.answers.total() >= due, PATIENCE)

    def said(self, path: str) -> set[Any]:
        return {said for known, said in self.answers if known == path}


class MountedFile:
    """A settings file as Kubernetes mounts it: its folder is a link, which is swapped."""

    def __init__(self, folder: Path, **more: str) -> None:
        self._folder = folder
        self._more = "".join(f"[{name}]\n{text}\n" for name, text in more.items())
        self._number = 0

    def write(self, text: str = "", **routes: str) -> None:
        self._number += 1
        version = self._folder / f"..v{self._number}"
        version.mkdir()
        tables = "".join(f'[[route]]\npath = "/{name}"\nupstream = "{url}"\n' for name, url in routes.items())
        (version / "bff.toml").write_text(f"{self._more}{tables}{text}")
        link = self._folder / "..new"
        link.symlink_to(version.name)
        os.replace(link, self._folder / "..data")  # noqa: PTH105 - a link is to be replaced, not followed
        if self._number == 1:
            (self._folder / "bff.toml").symlink_to("..data/bff.toml")


async def hashes(running: Service) -> set[str]:
    """The settings that the workers serve by."""
    return set(
        re.findall(r'bff_settings_info\{worker="\d+",hash="(\w+)"\}', (await running.ops("/metrics"))[1])
    )


async def value(running: Service, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", (await running.ops("/metrics"))[1], re.MULTILINE)
    assert found is not None
    return float(found[1])


@contextmanager
def opens_no_files(pid: int) -> Iterator[None]:
    """One process cannot open another file, and keeps those that it has open."""
    former = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, former[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, former)


def frontend(name: str, url: str, **routes: str) -> str:
    """The section of a frontend, with routes of its own."""
    own = "".join(f'[[frontend.route]]\npath = "/{path}"\nupstream = "{to}"\n' for path, to in routes.items())
    return f'[[frontend]]\nname = "{name}"\npublic_url = "{url}"\n{own}'


async def taken_by_all(running: Service, former: set[str]) -> set[str]:
    """Waits until every worker serves by other settings than the former, and all by the same."""
    async with asyncio.timeout(PATIENCE):
        while len(after := await hashes(running)) != 1 or after == former:
            pass  # each look is a request
    return after


async def frontends_come_and_go(
    running: Service, file: MountedFile, main: Load, redis: RedisServer, *, one: str, two: str
) -> None:
    """Under load: two are added with a route changed and one removed; one is changed; one is removed."""
    shop = Load(running.url, await handle_in(redis, "shop"), ["/kept", "/own"], "shop.localhost")
    desk = Load(running.url, await handle_in(redis, "desk"), ["/desk/kept"], cookie="bff.desk")
    shop_url, at_desk = "http://shop.localhost", frontend("desk", "http://app.localhost/desk")
    count, serving = len(running.lines("settings_changed")), [await hashes(running)]
    main.paths, main.answers = ["/kept", "/changed"], Counter()

    async def changed(number: int, text: str) -> set[str]:
        file.write(text, kept=one, changed=two)
        told = await running.said("settings_changed", count + number)
        serving.append(await taken_by_all(running, serving[-1]))
        return set(told["settings"])

    async with main.running():
        await main.more()
        names = await changed(1, frontend("shop", shop_url, own=one) + at_desk)
        assert {"frontend shop", "frontend desk", "route /tls", "route /changed", "route /kept"} == names
        async with desk.running():
            async with shop.running():
                await desk.more()
                await shop.more()
                assert {"frontend shop"} == await changed(2, frontend("shop", shop_url, own=two) + at_desk)
                await shop.more()
            assert {"frontend shop"} == await changed(3, at_desk)
            async with httpx.AsyncClient(base_url=running.url, timeout=PATIENCE) as client:
                assert 421 == (await client.get("/own/x", headers={"Host": "shop.localhost"})).status_code
            await desk.more()
        await main.more()
    for load in (main, shop, desk):
        assert {200} == {said for _, said in load.answers}


async def one_speaks_for_all(running: Service, file: MountedFile, folder: Path, **routes: str) -> None:
    """A worker that cannot build the newer settings: none takes them, until all can."""
    before, generation = await hashes(running), await value(running, "bff_settings_generation")
    own = self_signed(folder).cert
    with opens_no_files(running.pid(2)):
        file.write(
            f'[[route]]\npath = "/tls"\nupstream = "https://localhost:1"\nca_file = "{own}"\n', **routes
        )
        told = await running.said("settings_not_taken")
        assert "cannot be built: [Errno 24]" in told["problem"]
        await until(lambda: running.lines("settings_change_refused", reason="not_taken") != [], PATIENCE)
        assert 0 == await value(running, "bff_settings_last_reload_successful")
        assert generation == await value(running, "bff_settings_generation")
        assert before == await hashes(running)
    changed = len(running.lines("settings_changed"))
    running.signal(signal.SIGHUP)
    await running.said("settings_changed", changed + 1)
    assert 1 == await value(running, "bff_settings_last_reload_successful")


async def no_file_is_a_mistake(running: Service, folder: Path) -> None:
    """A file that is gone, or has become a device without an end: all settings stay, routes included."""
    before, file = await hashes(running), folder / "bff.toml"
    mounted = os.readlink(file)  # noqa: PTH115 - the link itself
    for number, (spoilt, why) in enumerate(
        [(None, "no such file"), ("/dev/zero", "more than 1024 KiB")], len(running.lines("settings_refused"))
    ):
        file.unlink(missing_ok=True)
        if spoilt is not None:
            file.symlink_to(spoilt)
        running.signal(signal.SIGHUP)
        assert why in (await running.said("settings_refused", number + 1))["problem"]
    file.unlink()
    file.symlink_to(mounted)
    assert before == await hashes(running)


async def test_changes_under_load(  # noqa: PLR0915 - one fleet, one change after the other
    tmp_path: Path, redis_server: RedisServer
) -> None:
    """Routes are added, changed and removed by a swap of links, by signals, by both; and mistakes are not."""
    arrived, go = asyncio.Event(), asyncio.Event()

    async def answer(request: Received) -> Reply:
        if request.target.endswith(b"/held"):
            arrived.set()
            await go.wait()
        return Reply(body=b"one")

    async def other(_: Received) -> Reply:
        return Reply(body=b"two")

    file = MountedFile(tmp_path, server="reload_interval = 0.05", log='level = "info"')
    handle = await handle_in(redis_server)
    async with backend(answer) as one, backend(other) as two:
        file.write(kept=one.url, changed=one.url, removed=one.url)
        with service(tmp_path, redis=redis_server.url, BFF_LOG__LEVEL="") as running:
            await running.up()
            load = Load(running.url, handle, ["/kept", "/changed", "/removed"])
            before = await hashes(running)
            async with load.running():
                await load.more()
                headers = {"Host": "app.localhost", "Cookie": f"bff={handle}", **CSRF}
                async with (
                    httpx.AsyncClient(base_url=running.url, timeout=PATIENCE, headers=headers) as client,
                    asyncio.TaskGroup() as group,
                ):
                    held = group.create_task(client.get("/removed/held"))
                    await arrived.wait()
                    file.write(kept=one.url, changed=two.url, added=two.url)
                    told = await running.said("reloaded")
                    assert {"route /added", "route /changed", "route /removed"} == set(told["changed"])
                    await taken_by_all(running, before)
                    load.paths = ["/kept", "/changed", "/added"]
                    await load.more()
                    assert 404 == (await client.get("/removed/x")).status_code
                    assert "two" == (await client.get("/changed/x")).text
                    go.set()
                    assert (200, "one") == ((await held).status_code, held.result().text)

                file.write("[limits]\nlogin_per_minute = -1\nunknown = 1\n", kept=one.url)
                await running.said("settings_refused", 2)
                assert {"limits.login_per_minute", "limits.unknown"} == {
                    line["setting"] for line in running.lines("settings_refused")
                }
                assert all("bff.toml" in line["source"] for line in running.lines("settings_refused"))
                assert 0 == await value(running, "bff_settings_last_reload_successful")
                await load.more()

                file.write(kept=two.url, changed=one.url, added=two.url)
                for _ in range(2):
                    running.signal(signal.SIGHUP)
                await until(lambda: len(running.lines("settings_changed")) == 2, PATIENCE)
                await load.more()
                await until(lambda: len(running.lines("reloaded")) >= 4, PATIENCE)
            assert 1 == await value(running, "bff_settings_last_reload_successful")
            assert 3 == await value(running, "bff_settings_generation")
            before = await hashes(running)
            assert 1 == len(before)
            assert {200} == load.said("/kept") == load.said("/changed")
            assert load.said("/removed") <= {200, 404}
            assert {200} == load.said("/added")

            await one_speaks_for_all(running, file, tmp_path, kept=two.url, changed=one.url)
            await frontends_come_and_go(running, file, load, redis_server, one=one.url, two=two.url)
            former, before = running.pid(1), await hashes(running)
            count = len(running.lines("settings_changed"))
            file.write(kept=two.url, changed=two.url)
            running.signal(signal.SIGHUP)
            os.kill(former, signal.SIGKILL)
            await running.said("worker_serving", 2, worker=1)
            await until(lambda: len(running.lines("settings_changed")) == count + 1, PATIENCE)
            await taken_by_all(running, before)
            await no_file_is_a_mistake(running, tmp_path)
            running.signal(signal.SIGTERM)
            assert 0 == await running.ends()


async def test_a_worker_that_stands_still_for_a_moment(tmp_path: Path) -> None:
    """Newer settings that it has not built in time are tried again once it goes on, without a signal."""
    file = MountedFile(tmp_path, server="reload_interval = 0.05\nstart_timeout = 5", log='level = "info"')
    file.write(one="http://localhost:1")
    with service(tmp_path, BFF_LOG__LEVEL="") as running:
        await running.up()
        os.kill(running.pid(2), signal.SIGSTOP)
        file.write(two="http://localhost:1")
        told = await running.said("settings_not_taken")
        assert "has not built them" in told["problem"]
        os.kill(running.pid(2), signal.SIGCONT)
        assert {"route /one", "route /two"} == set((await running.said("settings_changed"))["settings"])
        assert [] != running.lines("settings_tried_again", number=1, of=5)
