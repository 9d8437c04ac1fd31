"""`bff issuer`: runs the issuer alone."""

import logging
import math
import os
import socket
import time
from functools import partial
from typing import Annotated

import typer
import uvicorn

from bff.command_line import CommandLine
from bff.issuer.app import create_app
from bff.issuer.cli.keys import app as keys_app
from bff.issuer.cli.settings import FAILED, ConfigOption, load_or_exit, redis_or_exit
from bff.issuer.cli.users import app as users_app
from bff.issuer.keys.key_store import key_store, new_key
from bff.issuer.request_time import LONGEST, timed
from bff.issuer.settings import DEMO_USERS, IssuerSettings
from bff.observe.logs import configure, get_logger
from bff.settings.model import LogSettings
from bff.sighup import ignore_hangups, reload_nothing
from bff.sighup import serve as serve_steadily

app = CommandLine(
    no_args_is_help=False,
    invoke_without_command=True,
)
app.add_typer(keys_app, name="keys")
app.add_typer(users_app, name="users")

_BACKLOG = 2048

HostOption = Annotated[str, typer.Option(help="The address to listen on.")]
PortOption = Annotated[int, typer.Option(help="The port to listen on.", min=0, max=65535, metavar="PORT")]
DemoOption = Annotated[
    bool, typer.Option("--demo-accounts", help="Make the accounts alice@example.com and bob@example.com.")
]


@app.callback(
    epilog="Try it: [bold]ISSUER_URL=http://localhost:9000 bff issuer --demo-accounts[/bold] (Redis on its "
    "usual port).  ·  In earnest: [bold]bff issuer[/bold] beside an issuer.toml, made from "
    "config/issuer.example.toml; then [bold]bff issuer users add[/bold], and by a timer "
    "[bold]bff issuer keys rotate[/bold]."
)
def main(
    context: typer.Context,
    config: ConfigOption = None,
    host: HostOption = "127.0.0.1",
    port: PortOption = 9000,
    demo_accounts: DemoOption = False,
) -> None:
    """Run the issuer: an OpenID Provider for development, tests, and first-party apps without a provider.

    It keeps everything in Redis; several of them on one Redis are one issuer. An https issuer needs a reverse
    proxy in front, and server keys (server_keys_file).
    """
    if context.invoked_subcommand is None:
        serve(config, host, port, demo_accounts)


@app.command(
    epilog="Examples: [bold]bff issuer serve[/bold]  ·  "
    "[bold]bff issuer serve -c /etc/bff/issuer.toml --port 9001[/bold]"
)
def serve(
    config: ConfigOption = None,
    host: HostOption = "127.0.0.1",
    port: PortOption = 9000,
    demo_accounts: DemoOption = False,
) -> None:
    """Runs the issuer until it is stopped."""
    settings = load_or_exit(config)
    if demo_accounts:
        settings = settings.model_copy(update={"users": (*settings.users, *DEMO_USERS)})
    run(settings, host, port)


def run(settings: IssuerSettings, host: str, port: int) -> None:
    """Serves until SIGTERM or SIGINT; requests in flight get five seconds. SIGHUP reads server keys anew."""
    ignore_hangups()
    configure(LogSettings())
    listener = _listen_or_exit(host, port)
    with redis_or_exit(settings) as redis:
        redis.ping()
        if settings.sealing_keys:
            key_store(settings, redis).begin(partial(new_key, settings), time.time())
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    port = listener.getsockname()[1]
    get_logger("bff.issuer").info("issuer_started", url=settings.url, host=host, port=port)
    application = create_app(settings)
    followed = application.state.server_keys_file
    served = serve_steadily(
        uvicorn.Config(
            application,
            host=host,
            port=port,
            http=timed(),
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=math.ceil(LONGEST),  # not uvicorn's 5 s, at which proxies use them still
            timeout_graceful_shutdown=5,
        ),
        listener,
        reload_nothing if followed is None else followed.reload,
    )
    if not served:
        raise typer.Exit(FAILED)


def _listen_or_exit(host: str, port: int) -> socket.socket:
    """The socket to serve on, bound before all other steps; a taken port is one line."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        typer.echo(
            f"{host}:{port}: {os.strerror(error.errno or 0)}: choose another --port or --host", err=True
        )
        raise typer.Exit(FAILED) from None


if __name__ == "__main__":
    app()
