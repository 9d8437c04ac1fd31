"""`bff issuer users`: the accounts, from a terminal or a script.

Results go to standard output, audit lines and errors to standard error. A password is never an argument:
arguments are visible to every user of the machine, and kept by the shell.

Exit codes: 0 done, 1 failed, 2 the settings or the arguments are wrong.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import SecretStr, ValidationError

from bff.command_line import CommandLine
from bff.issuer.accounts.account_changes import AccountChanges
from bff.issuer.accounts.accounts import Account, AccountError
from bff.issuer.accounts.passwords import MIN_CHARACTERS, PasswordRefusedError
from bff.issuer.cli.settings import FAILED, ConfigOption, load_or_exit, redis_or_exit
from bff.issuer.cli.users_view import facts, overview, print_table, show_one
from bff.issuer.settings import UserSettings
from bff.issuer.store.sign_in_sessions import Ended
from bff.issuer.store.store import Store
from bff.observe.logs import configure
from bff.settings.model import LogSettings

app = CommandLine(
    help="The accounts that can sign in. WHO is an address or a sub.",
    epilog="A password is asked for, or read from standard input: "
    "[bold]pass alice | bff issuer users add alice@example.com --name Alice[/bold]",
    no_args_is_help=True,
)

JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
WhoArgument = Annotated[str, typer.Argument(metavar="WHO", help="The account: an address or a sub.")]


@app.command(
    epilog="Example: [bold]bff issuer users add alice@example.com --name 'Alice Liddell' --role admin[/bold]"
)
def add(  # noqa: PLR0917 - typer passes them by name
    email: Annotated[str, typer.Argument(metavar="ADDRESS", help="The email address to sign in with.")],
    name: Annotated[str, typer.Option(help="The name that clients show.")],
    role: Annotated[
        list[str] | None, typer.Option(help="A role, in access tokens as `role`; can be repeated.")
    ] = None,
    tenant: Annotated[str, typer.Option(help="The tenant, in access tokens as `tid`.")] = "",
    sub: Annotated[
        str | None, typer.Option(help="The user's permanent name in tokens; random unless given.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an account; its password is asked for, or the first line of standard input."""
    with _changes(config) as changes:
        if changes.accounts.named(email) is not None:
            _fail(f"There is an account for {email} already.")
        try:
            user = UserSettings(
                email=email.strip(),
                password=SecretStr(_read_password()),
                name=name,
                roles=tuple(role or ()),
                tenant=tenant,
                sub=sub,
            )
        except ValidationError as error:
            _fail("\n".join(_say(problem) for problem in error.errors(include_input=False)))
        account = changes.add(user)
    if as_json:
        _write(facts(account, []))
    else:
        typer.echo(f"{account.email} can sign in. Their sub is {account.sub}.")


@app.command("list", epilog="Example: [bold]bff issuer users list --json | jq -r '.[].email'[/bold]")
def show(
    who: Annotated[str | None, typer.Argument(metavar="WHO", help="One account, with its sign-ins.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show all accounts, or one with its sign-ins: device, beginning, and sid."""
    with _changes(config) as changes:
        accounts = [_find(changes, who)] if who is not None else list(changes.accounts.every())
        accounts.sort(key=lambda account: account.email)
        found = [(account, changes.standing(account)) for account in accounts]
    if as_json:
        told = [facts(account, standing) for account, standing in found]
        _write(told[0] if who is not None else told)
    elif who is not None:
        show_one(*found[0])
    elif found:
        print_table(*overview(found))
    else:
        typer.echo("Nobody can sign in yet: bff issuer users add ADDRESS --name NAME", err=True)


@app.command(epilog="Example: [bold]bff issuer users suspend alice@example.com[/bold]")
def suspend(who: WhoArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Suspend an account, and end its sign-ins; the clients are told."""
    with _changes(config) as changes:
        account = _find(changes, who)
        ended = changes.suspend(account)
    _report(f"{account.email} is suspended", account, ended, as_json)


@app.command(epilog="Example: [bold]bff issuer users resume alice@example.com[/bold]")
def resume(who: WhoArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Take a suspension back; the user signs in anew."""
    with _changes(config) as changes:
        account = _find(changes, who)
        if account.unusable:
            _fail(f"The account stays suspended: {', '.join(account.unusable)} in its record cannot be read.")
        changes.resume(account)
    _report(f"{account.email} can sign in again", account, None, as_json)


@app.command(epilog="Example: [bold]pass alice | bff issuer users password alice@example.com[/bold]")
def password(who: WhoArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Replace a password, and end the account's sign-ins; the clients are told."""
    with _changes(config) as changes:
        account = _find(changes, who)
        ended = changes.change_password(account, _read_password())
    _report(f"{account.email} has a new password", account, ended, as_json)


@app.command(
    epilog="A lost phone: [bold]bff issuer users list alice@example.com[/bold] shows its sid, then "
    "[bold]bff issuer users logout alice@example.com --sid SID[/bold]"
)
def logout(
    who: WhoArgument,
    sid: Annotated[
        str | None, typer.Option(metavar="SID", help="End this sign-in only, as a lost device's.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """End all sign-ins of an account, or one; the clients are told."""
    with _changes(config) as changes:
        account = _find(changes, who)
        ended = changes.log_out(account) if sid is None else [changes.end_device(account, sid)]
    _report(f"{account.email} is signed out{'' if sid is None else ' there'}", account, ended, as_json)


@contextmanager
def _changes(config: Path | None) -> Iterator[AccountChanges]:
    """The changes of accounts for one command; a failure ends it with a message."""
    settings = load_or_exit(config)
    configure(LogSettings())
    with redis_or_exit(settings) as redis:
        try:
            yield AccountChanges(redis.client, settings, Store.on(redis))
        except (AccountError, PasswordRefusedError) as error:
            _fail(str(error))


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(FAILED)


def _find(changes: AccountChanges, who: str) -> Account:
    account = changes.accounts.named(who)
    if account is None:
        _fail(f"There is no account {who}.")
    return account


def _read_password() -> str:
    """Asks twice on a terminal, else takes the first line of standard input."""
    if sys.stdin.isatty():
        prompt = f"Password (at least {MIN_CHARACTERS} characters)"
        return str(typer.prompt(prompt, hide_input=True, confirmation_prompt="The same again", err=True))
    try:
        return sys.stdin.buffer.readline().decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise PasswordRefusedError("The password must be UTF-8.") from None


def _say(problem: Any) -> str:
    return f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"


def _report(done: str, account: Account, ended: Sequence[Ended] | None, as_json: bool) -> None:
    if as_json:
        over = [{"sid": one.sid, "clients": one.clients, "families": one.families} for one in ended or ()]
        _write({"sub": account.sub, "email": account.email, "ended": over})
        return
    count = {None: "", 0: "; nothing was signed in", 1: "; one sign-in was ended"}
    many = None if ended is None else len(ended)
    typer.echo(f"{done}{count.get(many, f'; {many} sign-ins were ended')}.")


def _write(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))
