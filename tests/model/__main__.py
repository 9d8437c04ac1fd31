"""`python3 -m tests.model [rule]`: checks the refresh protocol, or shows what goes wrong without a rule.

Without an argument every rule stands, and what is checked is what the suite checks; `--whole` checks all
models, which takes some ten minutes and a few gigabytes. Exits with 1 if something is found that should not
be there, or is not found that should be.
"""

import argparse
import sys
from collections import Counter
from dataclasses import fields

from tests.model.runs import BROKEN, run, sample, whole
from tests.model.state import Rules


def main() -> int:
    """Runs what the arguments ask for."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.model", description=__doc__)
    rules = [field.name for field in fields(Rules)]
    parser.add_argument("rule", nargs="?", choices=rules, help="take this rule out")
    parser.add_argument("--whole", action="store_true", help="check everything")
    arguments = parser.parse_args()
    if arguments.rule:
        return show(arguments.rule)
    return check_all(every=arguments.whole)


def show(rule: str) -> int:
    """Shows the shortest way to what goes wrong without a rule."""
    model, _ = BROKEN[rule]
    checked, line = run(model)
    sys.stdout.write(f"without `{rule}`, {line}\n{checked.trace or 'nothing was found'}\n")
    return 0 if checked.trace else 1


def check_all(*, every: bool) -> int:
    """Checks the models with all rules; stops at the first that shows something wrong."""
    excused: Counter[str] = Counter()
    for model in whole() if every else sample():
        checked, line = run(model)
        excused += checked.excused
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        if checked.trace:
            sys.stdout.write(f"{checked.trace}\n")
            return 1
    for excuse, count in excused.most_common():
        sys.stdout.write(f"a token sent again, {excuse}: {count:,} steps\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
