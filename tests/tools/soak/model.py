"""The refresh protocol's model, checked whole: `python3 -m tests.model` shows single ways to what is wrong.

Some ten minutes and a few gigabytes: two processes with any number of faults, three with any two or three.
"""

import argparse

from tests.model.__main__ import check_all


def define(parser: argparse.ArgumentParser) -> None:
    """Defines the command, which has no arguments of its own."""
    parser.set_defaults(run=lambda _: check_all(every=True))
