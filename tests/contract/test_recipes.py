"""The recipes of `operate/sessions.md`, each run by a shell as it stands there, with the real redis-cli."""

import ast
import re
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest

from bff.crypto import new_secret
from bff.session.session_builder import Identity
from bff.session.sessions import Found
from tests.contract.cached import Site, cookie
from tests.docs.pages import section
from tests.session.sample import NOW, sample_tokens
from tests.structure.source import ROOT
from tests.support.network.relay import relay_to
from tests.support.processes.redis import RedisServer

SECTION = section("operate/sessions.md", "With redis-cli")
BLOCK = SECTION.partition("```sh\n")[2].partition("```")[0]
RECIPES = {
    text.partition("\n")[0].removeprefix("# "): text.partition("\n")[2].strip()
    for text in BLOCK.split("\n\n")
}
ALICE = "auth0|alice"
BROWSER = 'Firefox, "the" 1'


@dataclass
class Deployment:
    """Two processes, each of which has all sessions in its near cache, and the sessions by who has them."""

    redis: RedisServer
    processes: list[Site]
    found: dict[str, Found] = field(default_factory=dict)

    async def sign_in(self, who: str, sub: str, provider: str = "main") -> None:
        identity = Identity(provider=provider, sub=sub, sid=None, name="", claims={"sub": sub})
        self.found[who] = await self.processes[0].sessions.start(
            identity, sample_tokens(), user_agent=BROWSER, address="192.0.2.7"
        )

    def run(self, name: str, *changes: tuple[str, str]) -> str:
        """Runs a recipe as an operator does, who puts in what they look for; returns what it prints."""
        script = RECIPES[name]
        for former, new in changes:
            assert former in script
            script = script.replace(former, new)
        assert self.redis.cli_path is not None
        script = re.sub(r"\bredis-cli\b", f"{self.redis.cli_path} -p {self.redis.port}", script)
        done = subprocess.run(
            ["sh", "-euc", script], capture_output=True, text=True, check=True, timeout=60, cwd="/"
        )
        assert "" == done.stderr
        return done.stdout

    async def alive(self) -> set[str]:
        """Who is still signed in, as every process says, by its near cache and by Redis."""
        for process in self.processes:
            await process.told()
        outcomes = []
        for process in self.processes:
            outcomes.append({who for who, one in self.found.items() if process.near(one)})
            asked = {who: await process.sessions.open(one.handle) for who, one in self.found.items()}
            outcomes.append({who for who, outcome in asked.items() if isinstance(outcome, Found)})
        assert [outcomes[0]] * 4 == outcomes
        return outcomes[0]

    def id(self, who: str) -> str:
        return self.found[who].session.id


@pytest.fixture(name="deployed", params=[1, 2], ids=["text", "bytes"])
async def _deployed(redis_server: RedisServer, request: pytest.FixtureRequest) -> AsyncIterator[Deployment]:
    """Alice on two devices, Bob, and Carol who comes from another provider; records in either format."""
    if redis_server.cli_path is None:
        pytest.skip("no redis-cli")
    async with AsyncExitStack() as stack:
        relay = await stack.enter_async_context(relay_to(redis_server.port))
        keys = [new_secret()]
        processes = [Site(redis_server, relay, keys, record_format=request.param) for _ in range(2)]
        for process in processes:
            stack.push_async_callback(process.aclose)
            await process.start()
        deployment = Deployment(redis_server, processes)
        await deployment.sign_in("laptop", ALICE)
        await deployment.sign_in("phone", ALICE)
        await deployment.sign_in("bob", "bob")
        await deployment.sign_in("carol", "carol", "other")
        for process in processes:
            await process.told()
            for one in deployment.found.values():
                assert isinstance(await process.sessions.find(cookie(one)), Found)
        assert {"laptop", "phone", "bob", "carol"} == await deployment.alive()
        yield deployment


MINE = ("main:alice", "main:auth0%7Calice")


async def shows_a_user(deployed: Deployment) -> None:
    name = "a user's sessions: when each began and was last used, from where, by which browser"
    rows = deployed.run(name, MINE).splitlines()
    assert 2 == len(rows)
    for row in rows:
        assert re.fullmatch(rf'"{NOW:.0f}","{NOW:.0f}\.\d+","192.0.2.7","Firefox, \\"the\\" 1"', row), row
    deployed.redis.cli("DEL", f"bff:session:{deployed.found['phone'].session.key}")
    rows = deployed.run(name, MINE).splitlines()
    assert ["NULL,NULL,NULL,NULL"] == [row for row in rows if "192.0.2.7" not in row]
    assert {"laptop", "bob", "carol"} == await deployed.alive()


async def shows_one(deployed: Deployment) -> None:
    name = "the session that a log line names, all of it; its tokens are sealed"
    shown = deployed.run(name, ("0cd6f637684b", deployed.id("bob")))
    said = [ast.literal_eval(text) for text in re.findall(r'^ *\d+\) (".*")$', shown, re.MULTILINE)]
    record = dict(zip(said[::2], said[1::2], strict=True))
    assert ("bob", "192.0.2.7", BROWSER) == (record["sub"], record["ip"], record["ua"])
    assert not [line for line in said if "access-1" in line or "refresh-1" in line]


async def ends_one(deployed: Deployment) -> None:
    assert "1\n" == deployed.run("end one session", ("0cd6f637684b", deployed.id("phone")))
    assert {"laptop", "bob", "carol"} == await deployed.alive()


async def ends_a_user(deployed: Deployment) -> None:
    name = "end all sessions of a user, and their sign-ins that are under way"
    deployed.redis.cli("ZADD", "bff:user:main:auth0%7Calice", "9999999999", "f" * 64)  # one that is gone
    began = time.time() - 1
    assert ["0", "1", "1", "OK"] == sorted(deployed.run(name, MINE).split())
    assert {"bob", "carol"} == await deployed.alive()
    for who, over in (("laptop", True), ("bob", False)):
        session = deployed.found[who].session
        assert over == bool(await deployed.processes[0].sessions.bulk.ended_since(session, began))


async def ends_a_provider(deployed: Deployment) -> None:
    assert "1\n1\n1\n" == deployed.run("end all sessions of a provider")
    assert {"carol"} == await deployed.alive()


async def ends_everything(deployed: Deployment) -> None:
    with deployed.redis.client() as client:
        others = set(client.scan_iter("*")) - set(client.scan_iter("bff:session:*"))
        client.delete("bff:session:mark")
        assert "1\n" * 4 == deployed.run("end all sessions")
        assert others == set(client.scan_iter("*"))
    assert set() == await deployed.alive()


async def counts(deployed: Deployment) -> None:
    deployed.redis.cli("DEL", "bff:session:mark")
    assert "4" == deployed.run("how many sessions there are").strip()


async def shows_who_came(deployed: Deployment) -> None:
    name = "who has signed in since: when, who, from where"
    bob = deployed.found["bob"].session
    deployed.redis.cli("DEL", "bff:session:mark")
    deployed.redis.cli("HSET", f"bff:session:{bob.key}", "created", f"{NOW - 7200:.0f}")
    rows = deployed.run(name, ("$(date -d '1 hour ago' +%s)", f"{NOW - 3600:.0f}")).splitlines()
    expected = [f'"{NOW:.0f}","{sub}","192.0.2.7"' for sub in (ALICE, ALICE, "carol")]
    assert expected == rows
    assert 4 == len(deployed.run(name).splitlines())  # the sample's clock is ahead of the real one


SHOWN: list[Callable[[Deployment], Awaitable[None]]] = [
    shows_a_user,
    shows_one,
    ends_one,
    ends_a_user,
    ends_a_provider,
    ends_everything,
    counts,
    shows_who_came,
]


@pytest.mark.requirement("S-06", "B-22")
@pytest.mark.parametrize("scenario", SHOWN, ids=lambda scenario: scenario.__name__)
async def test_a_recipe(deployed: Deployment, scenario: Callable[[Deployment], Awaitable[None]]) -> None:
    """It does what its comment says, to whom it says, at once in every process, and nothing else."""
    await scenario(deployed)


@pytest.mark.requirement("S-06")
def test_every_recipe_is_run() -> None:
    """None stands in the block without a scenario."""
    source = (ROOT / "tests/contract/test_recipes.py").read_text(encoding="utf-8")
    assert set() == {name for name in RECIPES if f'"{name}"' not in source}
    assert len(SHOWN) == len(RECIPES)
