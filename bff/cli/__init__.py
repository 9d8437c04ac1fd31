"""The command `bff`: one file a command.

Exit codes: 0 done, 1 a check failed, or it could not be done, 2 the settings or the arguments are wrong,
130 interrupted.
The result of a command goes to standard output, errors and progress to standard error; colours only on a
terminal. A command imports its parts when it runs, the settings too, so that `bff --help` answers at once.
"""

import gc

_IMPORTED = 50_000  # objects between two looks of the garbage collector: imports make many, and no garbage


def main() -> None:
    """The entry point."""
    gc.set_threshold(_IMPORTED, 20, 20)
    from bff.cli.root import app  # noqa: PLC0415 - the package is named by its parts, too

    app(prog_name="bff")
