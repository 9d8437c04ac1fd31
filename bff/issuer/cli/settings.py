"""Settings, Redis connection and error messages, shared by the issuer's commands."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import redis
import typer

from bff.command_line import complain
from bff.issuer.keys.key_plan import KeyWaitsError
from bff.issuer.keys.key_record import KeysUnusableError
from bff.issuer.settings import IssuerSettings
from bff.issuer.settings_file import doubtful_variables, read_settings
from bff.issuer.store.redis import IssuerRedis, connect
from bff.settings.problem import SettingsError

FAILED: Final = 1
UNUSABLE: Final = 2


def _or_the_one_before(context: typer.Context, config: Path | None) -> Path | None:
    """Takes a file that was named further left: `bff issuer -c FILE users list`."""
    above = context.parent
    while config is None and above is not None:
        config, above = above.params.get("config"), above.parent
    return config


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        callback=_or_the_one_before,
        help="Its settings in TOML; else the file that ISSUER_CONFIG names, else issuer.toml if it is here. "
        "ISSUER_… variables win over it.",
    ),
]


def load_or_exit(config: Path | None) -> IssuerSettings:
    """Reads the settings, or names every problem on standard error and exits with 2."""
    for line in doubtful_variables(os.environ):
        typer.echo(line, err=True)
    try:
        return read_settings(config, os.environ)
    except SettingsError as error:
        complain(error.problems)
        raise typer.Exit(UNUSABLE) from None


@contextmanager
def redis_or_exit(settings: IssuerSettings) -> Iterator[IssuerRedis]:
    """The issuer's Redis; a failure of it, or of the keys in it, is one sentence and exit code 1."""
    client = connect(settings.redis_url.get_secret_value())
    try:
        yield IssuerRedis(client, settings.prefix)
    except (KeyWaitsError, KeysUnusableError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAILED) from None
    except redis.RedisError as error:
        typer.echo(
            f"Redis cannot be used ({type(error).__name__}). Is redis_url (ISSUER_REDIS_URL) right?", err=True
        )
        raise typer.Exit(FAILED) from None
    finally:
        client.close()
