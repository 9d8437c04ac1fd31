"""Many uses of one refresh token at once, over several issuer processes: one wins, every time.

Every second round has a code in place of the refresh token. The exit status is 1 if a round has more than one
winner, or if what was won outlives the round.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import httpx
from rich.console import Console

from bff.crypto import new_secret
from bff.embedded import free_port
from tests.issuer.flow import CREDENTIALS, REDIRECT_URI, Person
from tests.support.processes.redis import RedisServer, redis_server
from tests.support.providers.issuer import CLIENT_ID, CLIENT_SECRET

THREADS = 20


@dataclass
class Elsewhere:
    """An issuer in another process."""

    url: str


def define(parser: argparse.ArgumentParser) -> None:
    """Defines the command's arguments."""
    parser.add_argument("--uses", type=int, default=200, help="how many uses at once (200)")
    parser.add_argument("--processes", type=int, default=2, help="how many issuers (2)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Goes round for as long as the time lasts."""
    console = Console(stderr=True, emoji=False, highlight=False)
    seen: Counter[tuple[int, bool]] = Counter()
    deadline = time.monotonic() + arguments.minutes * 60
    with redis_server() as server, issuers(server, arguments.processes) as addresses:
        while time.monotonic() < deadline:
            seen[one_round(addresses, arguments.uses, by_code=seen.total() % 2 == 1)] += 1
    for (winners, over), rounds in sorted(seen.items()):
        console.print(f"{rounds:6} rounds: {winners} of {arguments.uses} won, over afterwards: {over}")
    return int(any(winners > 1 or not over for winners, over in seen))


def one_round(addresses: Sequence[str], uses: int, *, by_code: bool) -> tuple[int, bool]:
    """Signs in and uses what came; returns how many won, and whether what they won is over afterwards."""
    with Person(Elsewhere(addresses[0])) as person:
        if by_code:
            form = person.code_form(person.code())
        else:
            form = {"grant_type": "refresh_token", "refresh_token": person.tokens()["refresh_token"]}

        def use(number: int) -> list[httpx.Response]:
            url = f"{addresses[number % len(addresses)]}/token"
            with httpx.Client(timeout=60, auth=CREDENTIALS) as client:
                return [client.post(url, data=form) for _ in range(uses // THREADS)]

        with ThreadPoolExecutor(THREADS) as pool:
            answers = [answer for some in pool.map(use, range(THREADS)) for answer in some]
        won = [answer.json()["refresh_token"] for answer in answers if answer.status_code == 200]
        return len(won), all(person.refresh(token).status_code == 400 for token in won)


@contextmanager
def issuers(server: RedisServer, count: int) -> Iterator[list[str]]:
    """Issuer processes of one name on one Redis; yields their addresses, the first of which is the name."""
    ports = [free_port() for _ in range(count)]
    addresses = [f"http://127.0.0.1:{port}" for port in ports]
    client = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "redirect_uris": [REDIRECT_URI]}
    environment = {
        **os.environ,
        "ISSUER_URL": addresses[0],
        "ISSUER_REDIS_URL": server.url,
        "ISSUER_SERVER_KEYS": new_secret(),
        "ISSUER_CLIENTS": json.dumps([client]),
        "ISSUER_PASSWORD_COST__TIME": "1",
        "ISSUER_PASSWORD_COST__MEMORY_KIB": "64",
    }
    with ExitStack() as stack:
        for port in ports:
            command = [sys.executable, "-m", "bff", "issuer", "--demo-accounts", "--port", str(port)]
            process = stack.enter_context(
                subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
            )
            stack.callback(process.terminate)
        for address in addresses:
            _wait_for(address)
        yield addresses


def _wait_for(address: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            httpx.get(f"{address}/healthz").raise_for_status()
        except httpx.HTTPError:
            assert time.monotonic() < deadline, f"{address} did not start"
            time.sleep(0.05)
        else:
            return
