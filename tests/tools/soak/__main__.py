"""`python3 -m tests.tools.soak <scenario>`: runs one scenario whole, and says how it went."""

import argparse
import sys
from collections.abc import Callable, Mapping

from tests.tools.soak import crowds, faults, fuzz, model, oversight, reuse, topologies, walk, watchers

Scenario = Callable[[argparse.ArgumentParser], None]
SCENARIOS: Mapping[str, Scenario] = {
    "fuzz": fuzz.define,
    "faults": faults.define,
    "walk": walk.define,
    "crowds": crowds.define,
    "model": model.define,
    "reuse": reuse.define,
    "oversight": oversight.define,
    "watchers": watchers.define,
    "topologies": topologies.define,
}
"""Each describes its arguments, and sets `run`: from them to the exit status."""


def main() -> int:
    """Runs what the arguments ask for; 0 if nothing was found."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.tools.soak", description=__doc__)
    scenarios = parser.add_subparsers(metavar="scenario", required=True)
    for name, define in SCENARIOS.items():
        words = sys.modules[define.__module__].__doc__ or name
        one = scenarios.add_parser(name, help=words.partition("\n")[0], description=words)
        one.add_argument("--minutes", type=float, default=10.0, help="how long it may take (10)")
        one.add_argument("--seed", type=int, default=0, help="to repeat a run; 0: a new one each time")
        define(one)
    arguments = parser.parse_args()
    status: int = arguments.run(arguments)
    return status


if __name__ == "__main__":
    sys.exit(main())
