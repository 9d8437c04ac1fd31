"""Fixtures that every test can ask for, and what the suite says at its end."""

import gc
import logging
import os
import re
import ssl
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from httpx import _config as httpx_config
from httpx._transports import default as httpx_transports
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from xdist.scheduler import LoadFileScheduling

from bff import embedded
from bff.observe import logs

gc.disable()  # until all is collected: nothing of it goes, and a fifth of the time would be spent on looking
sys.dont_write_bytecode = False  # several processes read these files, and each would compile all of them

pytest_plugins = ["tests.support.processes.redis"]

# A slow machine is no finding. In CI this adds to hypothesis' own profile for it.
hypothesis_settings.register_profile("bff", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("bff")

_create_ssl_context = httpx.create_ssl_context
_read_authorities = cache(_create_ssl_context)  # 30 ms, and each of thousands of clients would read them


def _ssl_context(
    verify: ssl.SSLContext | bool = True, cert: None = None, *, trust_env: bool = True
) -> ssl.SSLContext:
    """A context of httpx's own: one for all clients that trust the public authorities."""
    if verify is True:
        return _read_authorities(trust_env=trust_env)
    return _create_ssl_context(verify, cert, trust_env)


for _wait in ("connect", "read", "write", "pool"):  # five seconds by default
    setattr(httpx_config.DEFAULT_TIMEOUT_CONFIG, _wait, 60.0)
httpx_transports.create_ssl_context = _ssl_context  # type: ignore[assignment, attr-defined] # not public; fewer forms

TESTS = Path(__file__).parent
REQUIREMENTS = TESTS / "requirements.md"
SLOW = {
    "browser",
    "demo",
    "differential",
    "docs",
    "faults",
    "flow",
    "library",
    "model",
    "node",
    "npm",
    "packaging",
    "serve",
    "tools",
}
"""The folders whose files take long, most of it waiting."""
_SPREAD = 0.9  # the slow files begin within this share of the run
SHARED = {
    f"tests/{folder}/test_{name}.py": f"tests/{folder}: {group}"
    for folder, group, names in (
        ("browser", "devices", ("accessibility", "devices", "ending", "tabs")),
        ("browser", "calls", ("account", "client", "error_page", "foreign", "prefetch")),
        ("browser", "calls", ("prompt", "sign_in", "sign_in_page")),
        ("node", "certified", ("certified_demands", "certified_provider")),
    )
    for name in names
}
"""Files that run one after the other in one process, which starts their fleet once, and their group."""


class _Together(LoadFileScheduling):  # type: ignore[misc] # xdist has no types
    """A file, or a group of files, at a time for each process."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return SHARED.get(file, file)


def pytest_configure() -> None:
    """Gives each of several test processes ports of its own: none takes what another has just found free."""
    number, count = (os.environ.get(f"PYTEST_XDIST_WORKER{end}", "") for end in ("", "_COUNT"))
    if count:
        first, last = embedded.LISTENABLE
        share = (last - first) // int(count)
        begin = first + share * int(number.removeprefix("gw"))
        embedded.LISTENABLE = (begin, begin + share)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Has several processes share the work of compiling: each begins with files of its own."""
    given = getattr(session.config, "workerinput", None)
    if given is not None and _whole(session.config):
        number, count = int(given["workerid"].removeprefix("gw")), given["workercount"]
        for path in sorted(TESTS.rglob("test_*.py"))[number % count :: count]:
            with suppress(Exception):  # what is wrong with it is told when it is collected
                import_module(".".join(path.relative_to(TESTS.parent).with_suffix("").parts))


def requirement_ids() -> set[str]:
    """The ids of all promises in `requirements.md`."""
    return set(re.findall(r"\b([A-Z]-\d\d) [MSD] ", REQUIREMENTS.read_text(encoding="utf-8")))


def _named(items: list[pytest.Item]) -> Iterator[tuple[pytest.Item, str]]:
    for item in items:
        for mark in item.iter_markers("requirement"):
            for name in mark.args:
                yield item, name


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A mark that names no promise is a mistake in the test."""
    named = [*_named(items)]
    known = requirement_ids()
    unknown = {f"{item.nodeid}: {name}" for item, name in named if name not in known}
    if unknown:
        raise pytest.UsageError("no such requirement: " + ", ".join(sorted(unknown)))
    config.stash[_SHOWN] = {name for _, name in named}
    # What our server protocol alone promises is not asked of the plain application under a stock server.
    elsewhere = {item for item in items if item.get_closest_marker("server_only") and _is_embedded(item)}
    config.hook.pytest_deselected(items=list(elsewhere))
    items[:] = _spread([item for item in items if item not in elsewhere])


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """What was collected stays: the garbage collector need not visit it with each test."""
    gc.freeze()
    gc.enable()


def _spread(items: list[pytest.Item]) -> list[pytest.Item]:
    """The files that wait for browsers, fleets and builds spread among the quick ones, none at the end."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    slow = [path for path in files if path.relative_to(TESTS).parts[0] in SLOW]
    quick = [path for path in files if path not in slow]
    places = [(number / len(slow) * _SPREAD, path) for number, path in enumerate(slow)]
    places += [(number / len(quick), path) for number, path in enumerate(quick)]
    return [item for _, path in sorted(places) for item in files[path]]


def _is_embedded(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    return callspec is not None and callspec.params.get("both_fronts") == "embedded"


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Three processes a core for the whole suite, which mostly waits; none but this one for a part."""
    return 3 * (os.cpu_count() or 1) if _whole(config) else 0


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """Has the files of a group share a process; any other `--dist` is left to xdist."""
    return _Together(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Takes over which promises the tests of another process show, as it ends."""
    shown: list[str] = getattr(node, "workeroutput", {}).get("shown", [])
    node.config.stash[_SHOWN] = node.config.stash.get(_SHOWN, set()) | set(shown)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Says which promises no collected test shows, when the whole suite was collected."""
    if _whole(config):
        shown = config.stash.get(_SHOWN, set())
        missing = sorted(requirement_ids() - shown)
        terminalreporter.write_line(f"promises that no test shows: {', '.join(missing) or 'none'}")


def _whole(config: pytest.Config) -> bool:
    return (
        not config.option.keyword and not config.option.markexpr and config.args == config.getini("testpaths")
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI nothing may be skipped: everything that a test can need is installed there."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        shown = session.config.stash[_SHOWN]
        output["shown"] = sorted(shown)
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if os.environ.get("CI") and skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """Where lines go and in which form is a process's own: what one test sets up, no other one inherits."""
    loggers = [
        logging.getLogger(name) for name in (None, "asyncio", "uvicorn", "uvicorn.error", *logs._FLOORS)
    ]
    before = [(one.level, one.propagate, one.handlers[:], one.filters[:]) for one in loggers]
    yield
    logs.name_each(frontends=False, providers=False)
    logs._output.flush()
    logs._output.access = logs._output.audit = None
    for logger, (level, propagate, handlers, filters) in zip(loggers, before, strict=True):
        if level != logger.level:  # or else each test clears the caches of all loggers
            logger.setLevel(level)
        logger.propagate = propagate
        logger.handlers[:] = handlers
        logger.filters[:] = filters
    logging.captureWarnings(capture=False)
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


_SHOWN = pytest.StashKey[set[str]]()
