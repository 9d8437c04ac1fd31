"""The group `bff sessions`."""

from bff.cli.sessions import end, listing, show, stats
from bff.command_line import CommandLine

app = CommandLine(
    help="List, show and end sessions. No command here ever shows a token.",
    epilog="A lost phone: [bold]bff sessions list --claim email=alice@example.com[/bold], then "
    "[bold]bff sessions end 0cd6f637684b[/bold] with the name of the session, as logs have it, too.  ·  "
    "Exit codes: 0 done; 1 it could not be done (Redis is away, there is no such session); 2 the settings or "
    "the arguments are wrong; 130 interrupted.",
    no_args_is_help=True,
)
for command in (listing, show, end, stats):
    app.add_typer(command.app)
