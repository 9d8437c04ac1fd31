"""The account for operators of `operate/sessions.md`: enough for its recipes and `bff sessions`, no more."""

import re
import subprocess

import pytest
from redis.exceptions import NoPermissionError

from tests.cli.signed_in import SignIn, sessions, sign_in
from tests.contract.test_recipes import RECIPES, SECTION
from tests.support.processes.redis import RedisServer

TOLD = SECTION.split("```sh\n")[2].partition("```")[0]
ACCOUNT = next(line for line in SECTION.splitlines() if line.startswith("ACL SETUSER operator "))
PASSWORD = "a-long-password"
PEOPLE = (SignIn("alice", sid="s-1"), SignIn("alice"), SignIn("bob"))


def run(server: RedisServer, recipe: str) -> str:
    """Runs a recipe in a shell that has been told where Redis is, as the page says."""
    told = TOLD.replace("a long password", PASSWORD).replace(
        "redis.internal -p 6379", f"127.0.0.1 -p {server.port}"
    )
    told = told.replace("='redis-cli ", f"='{server.cli_path} ")
    done = subprocess.run(
        ["sh", "-euc", f"{told}\n{recipe}"], capture_output=True, text=True, check=True, timeout=60, cwd="/"
    )
    assert "" == done.stderr
    assert not re.search(r"NOPERM|NOAUTH|WRONGPASS", done.stdout)
    return done.stdout


@pytest.mark.requirement("S-06", "S-13")
def test_an_operators_account_is_enough(redis_server: RedisServer) -> None:
    """With the default account off, each recipe and each command does its work by the operator's."""
    if redis_server.cli_path is None:
        pytest.skip("no redis-cli")
    with redis_server.client() as client:
        client.execute_command(*ACCOUNT.split())
    url = redis_server.url.replace("//", f"//operator:{PASSWORD}@")
    for recipe in RECIPES.values():
        made = sign_in(redis_server, PEOPLE)
        run(redis_server, recipe.replace("0cd6f637684b", made[0].id))
    made = sign_in(redis_server, PEOPLE)
    run(redis_server, RECIPES["end all sessions"])
    assert "0" == run(redis_server, RECIPES["how many sessions there are"]).strip()
    one, *_ = sign_in(redis_server, PEOPLE)
    assert "3 sessions\n" in sessions(redis_server, "stats", BFF_REDIS__URL=url).stdout.replace("  ", "")
    for command in (
        ("list",),
        ("list", "--user", "bob"),
        ("show", one.id),
        ("end", one.id),
        ("end", "--all", "--yes"),
    ):
        done = sessions(redis_server, *command, BFF_REDIS__URL=url)
        assert (0, False) == (done.returncode, "NOPERM" in done.stdout + done.stderr), done.stderr
    assert "0" == run(redis_server, RECIPES["how many sessions there are"]).strip()


@pytest.mark.requirement("S-13")
@pytest.mark.parametrize(
    "command",
    [("GET", "issuer:keys"), ("FLUSHALL",), ("KEYS", "*"), ("CONFIG", "GET", "*"), ("EVAL", "return 1", "0")],
)
def test_an_operators_account_can_do_no_more(redis_server: RedisServer, command: tuple[str, ...]) -> None:
    """No other service's keys, no order to the server, no script."""
    with redis_server.client() as client:
        client.execute_command(*ACCOUNT.split())
    with (
        redis_server.client(username="operator", password=PASSWORD) as client,
        pytest.raises(NoPermissionError),
    ):
        client.execute_command(*command)
