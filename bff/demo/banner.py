"""The demo's banner: addresses, accounts, and things to try."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bff.demo.plan import Ports
from bff.issuer.settings import DEMO_USERS


def redis_cli(found: str | None, port: int) -> str | None:
    """The beginning of a redis-cli line that works in a terminal here, or None if there is no redis-cli."""
    if found is None:
        return None
    name = Path(found).name
    return f"{name if shutil.which(name) == found else found} -p {port}"


def sessions_lines(found: str | None, port: int) -> tuple[str, str]:
    """Two commands: one that lists the sessions, one that ends them all."""
    cli = redis_cli(found, port)
    if cli is not None:
        listing = f"{cli} --scan --pattern 'bff:session:*'"
        return listing, f"{listing} | xargs -r {cli} DEL"
    client = f"r = redis.Redis(port={port}, decode_responses=True)"
    scan = "r.scan_iter('bff:session:*')"
    return (
        f'{sys.executable} -c "import redis; {client}; print(*{scan}, sep=chr(10))"',
        f'{sys.executable} -c "import redis; {client}; print(*map(r.delete, {scan}))"',
    )


def users_line(issuer: str, redis_port: int) -> str:
    """The beginning of a `bff issuer users` command that works in any terminal here.

    A `bff` on this process' own PATH proves nothing: uvx puts the environment there for its child alone.
    """
    bff = f"{sys.executable} -m bff"
    return f"ISSUER_URL={issuer} ISSUER_REDIS_URL=redis://127.0.0.1:{redis_port}/0 {bff} issuer users"


@dataclass(frozen=True, slots=True)
class Facts:
    """The values that differ from run to run; `lifetime` is that of access tokens, in seconds."""

    ports: Ports
    redis_kind: str
    cli: str | None
    logs: Path
    lifetime: int


def announce(console: Console, facts: Facts) -> None:
    """Prints the whole text."""
    ports, cli = facts.ports, facts.cli
    page = f"http://localhost:{ports.bff}"
    listing, ending = sessions_lines(cli, ports.redis)
    say = _Saying(console)
    say.line()
    say.line(f"[bold green]The demo runs.[/] Open [bold cyan]{page}[/]")
    say.line()
    say.rows(
        (
            ("BFF with the page", page),
            ("  its health and metrics", f"http://127.0.0.1:{ports.ops}/readyz  /metrics"),
            ("issuer (OpenID Provider)", f"http://127.0.0.1:{ports.issuer}/.well-known/openid-configuration"),
            ("orders API", f"http://127.0.0.1:{ports.api}"),
            ("Redis", f"127.0.0.1:{ports.redis}  ({facts.redis_kind})"),
            ("logs", str(facts.logs)),
        )
    )
    say.line()
    for user in DEMO_USERS:
        say.line(f"  sign in as {user.email} / {user.password.get_secret_value()}")
    say.heading("Things to try")
    say.items(
        (
            f"Watch the access token: it lives {facts.lifetime} seconds, and is rotated before its end.",
            "Revoke the access token at the API: the next call's 401 is healed by one rotation.",
            "Make fifty calls at once with a revoked token: fifty good answers, one rotation.",
            "Look for a token in the browser's storage, cookies and network log: there is none.",
            "End the session by redis-cli, below, and see the page notice.",
            "Suspend Alice's account, below: the issuer tells the BFF, and the page notices.",
        )
    )
    say.heading("The operator's view")
    say.rows((("look at the sessions", listing), ("end them all", ending)))
    if (command := redis_cli(cli, ports.redis)) is not None:
        say.rows((("look into one", f"{command} HGETALL bff:session:<key>"),))
    users, alice = users_line(f"http://127.0.0.1:{ports.issuer}", ports.redis), DEMO_USERS[0].email
    say.rows(
        (("suspend an account", f"{users} suspend {alice}"), ("and take it back", f"{users} resume {alice}"))
    )
    say.heading("Ctrl-C ends everything.")


class _Saying:
    """Lines without wrapping: a command can be copied, and a sentence stays on one line."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def line(self, text: str = "") -> None:
        self._console.print(text, soft_wrap=True, highlight=False)

    def heading(self, text: str) -> None:
        self.line()
        self.line(f"[bold]{text}[/]")

    def items(self, texts: Sequence[str]) -> None:
        for text in texts:
            self.line(f"  - {text}")

    def rows(self, rows: Sequence[tuple[str, str]]) -> None:
        for name, value in rows:
            self._console.print(f"  [dim]{name:<25}[/]", end="", soft_wrap=True, highlight=False)
            self._console.print(value, soft_wrap=True, highlight=False, markup=False)
