"""`bff issuer keys`: the keys that the issuer signs tokens with.

Exit codes: 0 done, 1 failed, 2 the settings or the arguments are wrong.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer

from bff.command_line import CommandLine, table_console, table_of
from bff.issuer.cli.settings import UNUSABLE, ConfigOption, load_or_exit, redis_or_exit
from bff.issuer.keys import key_plan
from bff.issuer.keys.key_plan import KeyLife
from bff.issuer.keys.key_store import KeyStore, key_store, new_key
from bff.issuer.keys.keys import Algorithm
from bff.issuer.settings import IssuerSettings, check_url
from bff.observe.logs import audit, configure
from bff.settings.model import LogSettings

app = CommandLine(
    help="The keys that tokens are signed with: kept in Redis, sealed under the server keys.",
    no_args_is_help=True,
)


@app.callback()
def main() -> None:
    """Show and rotate the keys that tokens are signed with: in Redis, sealed under the server keys."""
    configure(LogSettings())


JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
LeakedOption = Annotated[
    bool,
    typer.Option(
        "--leaked",
        help="Sign with the new key at once and take all others back: every token from before is refused "
        "as soon as verifiers fetch the keys again.",
    ),
]


def _issuer_url(value: str) -> str:
    try:
        return check_url(value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


FormerOption = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="URL",
        callback=_issuer_url,
        help="The url under which they were made, to the letter.",
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show the keys that would be moved, and move none.")
]


@app.command(
    epilog="Run it by a timer, once in a few weeks. It ends nobody's session: tokens of the former key stay "
    "good until their own end.  ·  Example: [bold]bff issuer keys rotate -c issuer.toml[/bold]"
)
def rotate(config: ConfigOption = None, leaked: LeakedOption = False) -> None:
    """Make a new key: it is published now, and signs after key_lead; the former stays as long as needed."""
    settings = load_or_exit(config)
    with _keys(settings) as keys:
        now, key = time.time(), new_key(settings)
        if leaked:
            keys.replace_leaked(key, now)
        else:
            keys.rotate(key, now)
        audit("keys_rotated", reason="leaked" if leaked else "rotation", kid=key.kid)
        _tell(keys.lives(now), now)


@app.command("list", epilog="Example: [bold]bff issuer keys list --json | jq -r '.[].kid'[/bold]")
def list_keys(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show each key and its stage: waiting, signing, retiring, retired."""
    settings = load_or_exit(config)
    with _keys(settings) as keys:
        now = time.time()
        lives = keys.lives(now)
        if as_json:
            typer.echo(
                json.dumps([_record(life, algorithm, lives, now) for life, algorithm in lives], indent=2)
            )
        else:
            _tell(lives, now)


@app.command(
    epilog="Stop the issuers, set the new url, move, start them again. Refresh tokens go on, access tokens "
    "of the former url are refused until they are refreshed.  ·  Example: [bold]bff issuer keys "
    "move --from https://login.example.com --dry-run[/bold]"
)
def move(
    former: FormerOption,
    config: ConfigOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Take over the keys that were made under another url in the same Redis: all of them, or none."""
    settings = load_or_exit(config)
    if former == settings.url:
        raise typer.BadParameter("is the url that is set now: set the new one first", param_hint="'--from'")
    with _keys(settings) as keys:
        now = time.time()
        moved = keys.move(former, now, dry_run=dry_run)
        if not dry_run:
            audit("keys_moved", former_issuer=former, issuer=settings.url, kids=moved)
            _tell(keys.lives(now), now)
    what = "would be moved" if dry_run else "moved"
    typer.echo(f"{len(moved)} key{'' if len(moved) == 1 else 's'} {what}: {', '.join(moved)}", err=True)


@contextmanager
def _keys(settings: IssuerSettings) -> Iterator[KeyStore]:
    if not settings.sealing_keys:
        typer.echo("server_keys: there is none, so signing keys are not kept: bff keys generate", err=True)
        raise typer.Exit(UNUSABLE)
    with redis_or_exit(settings) as redis:
        yield key_store(settings, redis)


def _record(
    life: KeyLife, algorithm: Algorithm, lives: list[tuple[KeyLife, Algorithm]], now: float
) -> dict[str, str | None]:
    return {
        "kid": life.kid,
        "alg": algorithm,
        "phase": key_plan.phase(life, [other for other, _ in lives], now).value,
        "created": _when(life.created),
        "signs_from": _when(life.signs_from),
        "published_until": None if life.retires is None else _when(life.retires),
    }


def _tell(lives: list[tuple[KeyLife, Algorithm]], now: float) -> None:
    table = table_of("key", "for", "is", "signs from", "published until", whole="key")
    for life, algorithm in lives:
        record = _record(life, algorithm, lives, now)
        until = record["published_until"] or "its successor has taken over"
        table.add_row(life.kid, algorithm, record["phase"], record["signs_from"], until)
    table_console().print(table)


def _when(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
