"""The command: `python3 -m tests.tools.bench`."""

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from bff.embedded import EmbeddedRedisError
from tests.tools.bench import machine
from tests.tools.bench.contenders import Contender, contenders
from tests.tools.bench.environment import Ground, prepared
from tests.tools.bench.figures import rows
from tests.tools.bench.load import LoadError
from tests.tools.bench.programs import NotStartedError, find
from tests.tools.bench.promises import held
from tests.tools.bench.report import Report, console, show
from tests.tools.bench.rounds import WORKLOADS, Results, Tell, Workload, measure, start_all
from tests.tools.bench.scenarios import FULL, QUICK, Scale, Scenario, scenarios
from tests.tools.bench.stages import measure_stages

_STAGES = "stages"
_TEXT = """
Compares the proxy with others on this machine, and holds it against its promises. The contender runs on one
core, backend, Redis and load generator on the rest; contenders take turns, and the ratios are those within a
round. Absolute figures are the machine's; on a busy machine even the ratios say little.
A Python that was built without --enable-optimizations, as pyenv's are by default, costs a third more.

Needed: nginx, redis-server and wrk. Apache with mod_auth_openidc takes part where installed (Envoy is one of
the tests' packages):
  apt-get install nginx-light redis-server wrk apache2 libapache2-mod-auth-openidc
"""
_EXAMPLES = """
examples:
  python3 -m tests.tools.bench                        everything, some 25 minutes
  python3 -m tests.tools.bench --quick                everything small, some five minutes
  python3 -m tests.tools.bench --only bff nginx       these two contenders under every load
  python3 -m tests.tools.bench --only bff json-32 --rounds 9
  python3 -m tests.tools.bench --only deletion        one scenario
  python3 -m tests.tools.bench stages                 what each stage of a request costs
  python3 -m tests.tools.bench --quick --json bench.json
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what was asked for; 0 when all of it could be measured, 1 when not, 2 for a wrong name."""
    options = _parser().parse_args(arguments)
    everyone, everything = contenders(), scenarios()
    if options.list:
        _list(everyone, everything)
        return 0
    wanted = [*options.names, *options.only]
    known = {
        *(c.name for c in everyone),
        *(w.name for w in WORKLOADS),
        *(s.name for s in everything),
        _STAGES,
    }
    if unknown := [name for name in wanted if name not in known]:
        sys.stderr.write(
            f"no such name: {', '.join(unknown)}. `python3 -m tests.tools.bench --list` shows them.\n"
        )
        return 2
    scale = QUICK if options.quick else FULL
    scale = replace(scale, rounds=options.rounds or scale.rounds, seconds=options.seconds or scale.seconds)
    chosen = _Choice(wanted, everyone, everything)
    cores = machine.cores()
    told = {"rounds": scale.rounds, "seconds": scale.seconds, "quick": options.quick}
    report = Report(machine.describe(cores), told)
    try:
        with _progress() as tell:
            _run(chosen, scale, cores, report, tell)
    except KeyboardInterrupt:
        report.problems.append("stopped before the end")
    except NotStartedError as failure:
        report.problems.append(str(failure))
    show(report, console())
    if options.json is not None:
        report.write(options.json)
    return 1 if report.problems else 0


class _Choice:
    """The contenders, loads and scenarios to run; without names all, and all of a kind that is not named."""

    def __init__(self, wanted: Sequence[str], everyone: list[Contender], everything: list[Scenario]) -> None:
        self.contenders = [c for c in everyone if c.name in wanted]
        self.workloads: list[Workload] = [w for w in WORKLOADS if w.name in wanted]
        self.scenarios = [s for s in everything if s.name in wanted]
        self.stages = _STAGES in wanted
        if not wanted:
            self.scenarios, self.stages = everything, True
        if self.contenders or self.workloads or not wanted:
            self.contenders = self.contenders or everyone
            self.workloads = self.workloads or list(WORKLOADS)

    @property
    def redirect_uris(self) -> list[str]:
        """The redirect URIs that the issuer has to accept."""
        ours = [proxy for scenario in self.scenarios for proxy in scenario.ours]
        return [uri for uri in (one.redirect_uri for one in (*self.contenders, *ours)) if uri is not None]


def _run(chosen: _Choice, scale: Scale, cores: machine.Cores, report: Report, tell: Tell) -> None:
    if chosen.contenders or chosen.scenarios:
        _on_servers(chosen, scale, cores, report, tell)
    if chosen.stages:  # last, because it sets this process' logging up
        tell("timing the stages of a request")
        with machine.on(cores.contender):
            report.stages = measure_stages()


def _on_servers(chosen: "_Choice", scale: Scale, cores: machine.Cores, report: Report, tell: Tell) -> None:
    if find("wrk") is None:
        raise NotStartedError("wrk is not installed: it makes the load")
    with prepared(cores, chosen.redirect_uris) as ground:
        if chosen.contenders:
            with ground.scope():
                _load(ground, chosen, scale, report, tell)
        for scenario in chosen.scenarios:
            tell(scenario.what)
            try:
                with ground.scope():
                    report.findings += scenario.run(ground, scale, tell)
            except (LoadError, NotStartedError, EmbeddedRedisError, TimeoutError, OSError) as failure:
                report.problems.append(f"{scenario.name}: {type(failure).__name__}: {failure}")


def _load(ground: Ground, chosen: "_Choice", scale: Scale, report: Report, tell: Tell) -> None:
    present = []
    for contender in chosen.contenders:
        if (why := contender.missing()) is None:
            present.append(contender)
        else:
            report.left_out.append(f"{contender.name}: not there: {why}")
    results = Results(problems=report.problems)
    try:
        running = start_all(ground, present, results, tell)
        measure(
            ground,
            running,
            chosen.workloads,
            rounds=scale.rounds,
            seconds=scale.seconds,
            results=results,
            tell=tell,
        )
    finally:
        report.rows = rows(results.runs)
        report.findings += held(results.runs)


@contextlib.contextmanager
def _progress() -> Iterator[Tell]:
    """Says on standard error what is being done: in one line on a terminal, else a line each."""
    errors = Console(stderr=True, highlight=False)
    if not errors.is_terminal:
        yield lambda text: errors.print(text, markup=False, soft_wrap=True)
        return
    with errors.status("starting") as status:
        yield status.update


def _list(everyone: Sequence[Contender], everything: Sequence[Scenario]) -> None:
    lines = ["contenders:"]
    for contender in everyone:
        why = contender.missing()
        lines.append(f"  {contender.name:19}{contender.what}" + (f"  (not there: {why})" if why else ""))
    lines += ["loads:", *(f"  {workload.name:19}{workload.what}" for workload in WORKLOADS)]
    lines += ["scenarios:", *(f"  {scenario.name:19}{scenario.what}" for scenario in everything)]
    lines += ["and:", f"  {_STAGES:19}what each stage of a request costs, timed in one process"]
    sys.stdout.write("\n".join(lines) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.tools.bench",
        description=_TEXT,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="the same as --only")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="contenders, loads, scenarios, or `stages`"
    )
    parser.add_argument("--list", action="store_true", help="show all names, and what is not installed")
    parser.add_argument("--quick", action="store_true", help="everything, but small: some five minutes")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often contenders take turns")
    parser.add_argument("--seconds", type=int, metavar="S", help="how long one run of the load takes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file as well")
    return parser


if __name__ == "__main__":
    sys.exit(main())
