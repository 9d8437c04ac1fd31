"""The events that the code logs at warning or above, read from the source."""

import ast
import re
from collections.abc import Iterator
from functools import cache

from tests.structure.source import PACKAGE, ROOT

LOUD = {"warning", "error", "exception", "critical"}
LOGGERS = {"_log", "log"}
_LOUD = re.compile(rf"\.(?:{'|'.join(sorted(LOUD))})\b")
PASSED_ON = {"bff/session/invalidation_feed.py": {"changes_lost", "changes_untracked"}}
"""Events whose names reach the logger by a parameter."""

AT_INFO = {"client_told"}
"""Events whose call can be loud for another event only."""


@cache
def loud_events() -> frozenset[str]:
    """The names of all events of warning and above."""
    return frozenset(event for place in places().values() for event in place) - AT_INFO


@cache
def places() -> dict[str, frozenset[str]]:
    """The same, by the file that logs them."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name, text = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        if _LOUD.search(text):  # to read a file as a tree takes a while
            found[name] = frozenset(_events(ast.parse(text), name))
    return found


def _events(tree: ast.Module, name: str) -> Iterator[str]:
    aliases = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.IfExp)
        for target in node.targets
        if isinstance(target, ast.Name) and any(map(_is_loud, (node.value.body, node.value.orelse)))
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        if _is_loud(node.func) or (isinstance(node.func, ast.Name) and node.func.id in aliases):
            yield from _named(node.args[0], name)


def _is_loud(node: ast.expr) -> bool:
    """True for `_log.warning` and its like, `get_logger(…).error` too."""
    if not isinstance(node, ast.Attribute) or node.attr not in LOUD:
        return False
    logger = node.value
    if isinstance(logger, ast.Call):
        return isinstance(logger.func, ast.Name) and logger.func.id == "get_logger"
    return isinstance(logger, ast.Name) and logger.id in LOGGERS


def _named(argument: ast.expr, name: str) -> Iterator[str]:
    """The events that a first argument can stand for; a message for people ends its name with a colon."""
    if isinstance(argument, ast.IfExp):
        yield from _named(argument.body, name)
        yield from _named(argument.orelse, name)
    elif isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        yield argument.value.partition(":")[0]
    else:
        literals = (PACKAGE.parent / name).read_text(encoding="utf-8")
        events = PASSED_ON[name]  # another file names its events in the call
        assert all(f'"{event}"' in literals for event in events)
        yield from events
