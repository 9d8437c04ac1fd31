"""`bff serve` with a clock that a file sets off: `python -m tests.support.processes.clocked_worker FILE`.

The settings come from the environment; the file holds seconds as text, and is read at each look.
"""

import os
import sys
import time
from pathlib import Path

from bff.app import App
from bff.serve import lone_worker
from bff.settings.load import load_all
from bff.settings.model import Settings


def main() -> int:
    """Serves until a signal comes."""
    ahead = Path(sys.argv[1])

    def clock() -> float:
        return time.time() + float(ahead.read_text())

    def make_app(settings: Settings) -> App:
        return App(settings, clock=clock)

    return lone_worker.run(load_all(None, os.environ).settings, make_app)


if __name__ == "__main__":
    sys.exit(main())
