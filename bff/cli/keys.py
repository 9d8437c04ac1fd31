"""`bff keys`: the keys that cookies and sessions are signed and sealed with, and the client's own."""

from pathlib import Path
from typing import Annotated

import typer

from bff.cli.server_keys import list_keys, rotate
from bff.command_line import CommandLine

app = CommandLine(
    help="Keys that cookies and sessions are signed and sealed with.",
    epilog="Examples: [bold]bff keys generate > bff-keys[/bold]  ·  [bold]bff keys list[/bold]  ·  "
    "[bold]bff keys rotate[/bold]",
    no_args_is_help=True,
)


app.command(
    epilog="Examples: [bold]bff keys rotate[/bold]  ·  several machines: "
    "[bold]bff keys rotate --lead 10m[/bold]  ·  a Secret: [bold]bff keys rotate --lead 10m --print[/bold]"
)(rotate)
app.command("list", epilog="Example: [bold]bff keys list --json | jq -r '.[].id'[/bold]")(list_keys)


@app.command(
    epilog="Examples: [bold]bff keys generate > bff-keys[/bold]  ·  later: [bold]bff keys rotate[/bold]"
)
def generate(
    count: Annotated[
        int, typer.Option(min=1, max=10, help="The number of keys; each stands on a line of its own.")
    ] = 1,
) -> None:
    """Make keys for session.keys_file or BFF_SESSION__KEYS: 256 random bits each, newest first."""
    from bff.crypto import new_secret  # noqa: PLC0415 - see the package's first lines

    for _ in range(count):
        typer.echo(new_secret())


@app.command(
    epilog="Examples: [bold]bff keys client > client-key.json[/bold]  ·  what to register: "
    "[bold]bff keys client --public client-key.json[/bold]"
)
def client(
    public: Annotated[
        Path | None, typer.Option(help="Show the public half of this key as a key set instead of making one.")
    ] = None,
) -> None:
    """Make a key for provider.client_key_file (private_key_jwt), or show its public half."""
    from bff.oidc.client_authentication import new_client_key  # noqa: PLC0415 - see the package's first lines
    from bff.settings.client_key import public_key_set  # noqa: PLC0415 - same

    if public is None:
        typer.echo(new_client_key())
        return
    try:
        typer.echo(public_key_set(public.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else str(error)
        raise typer.BadParameter(f"{public}: {problem}") from None
