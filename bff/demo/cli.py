"""`bff demo`: all programs on one machine, by one command."""

import logging
import os
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from rich.console import Console

from bff.command_line import CommandLine
from bff.demo.api import create_app
from bff.demo.plan import ACCESS_TOKEN_LIFETIME, AUDIENCE, SAMPLE_PAGE, Ports
from bff.demo.run import run
from bff.observe.logs import configure
from bff.settings.model import LogSettings
from bff.sighup import ignore_hangups
from bff.sighup import serve as serve_steadily
from bff.verify import RedisRevocations

app = CommandLine(
    help="Runs Redis, the issuer, a sample API and the proxy with a sample page, until Ctrl-C.",
    invoke_without_command=True,
    no_args_is_help=False,
)
_DEFAULTS = Ports()
_PORT = {"min": 0, "max": 65535, "metavar": "PORT"}


@app.callback(
    epilog="Examples: [bold]bff demo[/bold]  ·  a page of yours: [bold]bff demo --page web/dist[/bold]  ·  "
    "watch tokens rotate: [bold]bff demo --access-token-lifetime 15[/bold]"
)
def demo(  # noqa: PLR0917 - typer passes them by name
    context: typer.Context,
    port: Annotated[
        int, typer.Option(help="The page's port; a taken one is replaced.", **_PORT)
    ] = _DEFAULTS.bff,
    issuer_port: Annotated[int, typer.Option(help="The issuer's port.", **_PORT)] = _DEFAULTS.issuer,
    api_port: Annotated[int, typer.Option(help="The sample API's port.", **_PORT)] = _DEFAULTS.api,
    redis_port: Annotated[int, typer.Option(help="The private Redis' port.", **_PORT)] = _DEFAULTS.redis,
    ops_port: Annotated[int, typer.Option(help="The port of health and metrics.", **_PORT)] = _DEFAULTS.ops,
    access_token_lifetime: Annotated[
        int, typer.Option(help="The lifetime of access tokens.", metavar="SECONDS", min=15, max=900)
    ] = ACCESS_TOKEN_LIFETIME,
    page: Annotated[
        Path,
        typer.Option(
            help="The folder of a built page of yours, in place of the sample's.",
            exists=True,
            file_okay=False,
            resolve_path=True,
            show_default=False,
        ),
    ] = SAMPLE_PAGE,
) -> None:
    """Runs all programs; taken ports are replaced by free ones."""
    if context.invoked_subcommand is None:
        ports = Ports(bff=port, issuer=issuer_port, api=api_port, redis=redis_port, ops=ops_port)
        raise typer.Exit(run(ports, os.environ, Console(), access_token_lifetime, page))


@app.command("api", epilog="Example: [bold]bff demo api --issuer http://127.0.0.1:9000[/bold]")
def api(  # noqa: PLR0917 - typer passes them by name
    issuer: Annotated[
        str, typer.Option(help="The issuer whose access tokens are taken.")
    ] = "http://127.0.0.1:9000",
    audience: Annotated[str, typer.Option(help="The API's name in tokens (`aud`).")] = AUDIENCE,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.", **_PORT)] = _DEFAULTS.api,
    redis_url: Annotated[
        str,
        typer.Option(
            help="The issuer's Redis, with its revoked tokens; without it, revocation is not checked.",
            envvar="API_REDIS_URL",
        ),
    ] = "",
    ca_file: Annotated[
        Path | None, typer.Option(help="The authorities of an https issuer, in a PEM file.")
    ] = None,
) -> None:
    """Runs the sample API alone."""
    ignore_hangups()
    configure(LogSettings())
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    served = serve_steadily(
        uvicorn.Config(
            create_app(
                issuer,
                audience,
                revocations=[RedisRevocations(redis_url)] if redis_url else [],
                ca_file=ca_file,
            ),
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_graceful_shutdown=2,
        )
    )
    if not served:
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
