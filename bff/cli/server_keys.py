"""`bff keys rotate` and `bff keys list`: the server keys in `session.keys_file`.

Rule 1: the file is replaced as a whole, by `rename`, so that no process reads half of it; its mode and owner
stay. Two rotations at once come one after the other.
Rule 2: no output holds a key, except that of --print.
"""

import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from bff.cli.settings import FAILED, UNUSABLE, ConfigOption, load_or_exit
from bff.command_line import table_console, table_of
from bff.settings.server_keys import ServerKey, in_force, parse_key, rotated

if TYPE_CHECKING:
    from bff.settings.model import Settings


LeadOption = Annotated[
    str,
    typer.Option(
        help="The time for which the new key only verifies, as 10m: where several machines have copies "
        "of the file, longer than the slowest of them takes to get it.",
    ),
]
LeakedOption = Annotated[
    bool,
    typer.Option("--leaked", help="Take all former keys back at once: every session is over."),
]
PrintOption = Annotated[
    bool,
    typer.Option("--print", help="Write the new file to standard output, and leave the old one as it is."),
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask, for scripts.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]


@dataclass(frozen=True, slots=True)
class KeyLife:
    """A key without its secret, and the stage of its life."""

    id: str
    state: str
    made: str | None
    signs_from: str | None
    verifies_until: str | None


def rotate(
    config: ConfigOption = None,
    lead: LeadOption = "0s",
    leaked: LeakedOption = False,
    to_output: PrintOption = False,
    yes: YesOption = False,
) -> None:
    """Put a new key in front of session.keys_file. Sessions of the former keys live on to their end."""
    from bff.crypto import new_secret  # noqa: PLC0415 - see the package's first lines

    settings = load_or_exit(config).settings
    path, seconds = _keys_file(settings), _seconds(lead)
    if leaked and not (yes or to_output):
        typer.confirm("Every session ends, and every sign-in under way. Go on?", abort=True)
    with _locked(path):
        now = time.time()
        notes, keys = _read(path)
        if not leaked and (waiting := [key for key in keys if key.signs and key.signs > now]):
            _give_up(f"a key is there that will sign from {_when(waiting[0].signs)}; rotate again after that")
        longest = max(settings.session.max_lifetime, settings.session.transaction_lifetime)
        after = rotated(() if leaked else keys, new_secret(), now, lead=seconds, longest=longest)
        text = "".join(f"{line}\n" for line in [*notes, *(key.line() for key in after)])
        if to_output:
            typer.echo(text, nl=False)
            return
        _replace(path, text)
    _tell(after, now)
    interval = settings.server.reload_interval
    typer.echo(f"Running processes read {path} within {interval:g} s, at once on SIGHUP.", err=True)


def list_keys(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show the server keys: the one that signs, and the times until which the others verify."""
    settings = load_or_exit(config).settings
    keys = [parse_key(key.get_secret_value()) for key in settings.session.keys]
    now = time.time()
    if as_json:
        rows = [{name: getattr(life, name) for name in KeyLife.__slots__} for life in lives(keys, now)]
        typer.echo(json.dumps(rows, indent=2))
    else:
        _tell(keys, now)


def lives(keys: Sequence[ServerKey], now: float) -> list[KeyLife]:
    """The facts about keys that are safe to print."""
    from bff.crypto import key_id  # noqa: PLC0415 - see the package's first lines

    counting = in_force(keys, now)
    return [
        KeyLife(
            key_id(key.secret),
            _state(key, counting, now),
            _when(key.made),
            _when(key.signs),
            _when(key.until),
        )
        for key in keys
    ]


def _state(key: ServerKey, counting: Sequence[ServerKey], now: float) -> str:
    if key is counting[0]:
        return "signs"
    if key not in counting:
        return "over"
    return "will sign" if key.signs is not None and key.signs > now else "verifies"


def _tell(keys: Sequence[ServerKey], now: float) -> None:
    table = table_of("key", "state", "made", "signs from", "verifies until", whole="key")
    for life in lives(keys, now):
        signs = life.signs_from if life.state == "will sign" else None
        table.add_row(
            life.id, life.state, life.made, signs, life.verifies_until or "it is rotated or removed"
        )
    table_console().print(table)


def _when(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(lead: str) -> float:
    from bff.settings.value_types import parse_duration  # noqa: PLC0415 - see the package's first lines

    try:
        seconds = float(parse_duration(lead))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--lead") from None
    return seconds


def _keys_file(settings: "Settings") -> Path:
    path = settings.session.keys_file
    if path is None:
        _give_up(
            "session.keys_file is not set: keys in the environment or in the settings' own file change "
            "with a restart alone. `bff keys generate > FILE`, and name FILE there",
            UNUSABLE,
        )
    return path.resolve()  # a link stays a link, and its target is replaced


def _give_up(problem: str, code: int = FAILED) -> NoReturn:
    typer.echo(problem, err=True)
    raise typer.Exit(code)


def _read(path: Path) -> tuple[list[str], list[ServerKey]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    notes = [line for line in lines if line.lstrip().startswith("#")]
    texts = (part.strip() for line in lines if line not in notes for part in line.split(","))
    return notes, [parse_key(text) for text in texts if text]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Locks the file for this process, and reads it anew: another rotation may just have replaced it."""
    while True:
        with ExitStack() as stack:
            try:
                held = stack.enter_context(path.open("rb"))
                fcntl.flock(held, fcntl.LOCK_EX)
                same = os.path.samestat(os.fstat(held.fileno()), path.stat())
            except OSError as error:
                _give_up(f"{path}: {error.strerror}")
            if same:
                yield
                return


def _replace(path: Path, text: str) -> None:
    former = path.stat()
    name = ""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(descriptor, former.st_mode & 0o777)
            if (former.st_uid, former.st_gid) != (os.getuid(), os.getgid()):
                os.fchown(descriptor, former.st_uid, former.st_gid)
            os.fsync(descriptor)
        Path(name).replace(path)
    except OSError as error:
        with suppress(OSError):
            Path(name).unlink()
        _give_up(
            f"{path} cannot be replaced ({error.strerror}): write what --print says to where it comes from, "
            "as a Secret"
        )
