"""One page from the answers of several processes. Pure.

Rule: no metric is summed. Each sample gets the label `worker`, so that the counters of a worker that was
replaced begin anew as Prometheus expects of counters, and gauges of processes (memory, descriptors) keep
their sense.
Who wants the whole sums in the query: `sum without (worker) (rate(bff_requests_total[5m]))`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

END = "# EOF\n"
"""The last line of a page in OpenMetrics."""


def merged(own: str, pages: Mapping[int, str]) -> str:
    """One page in Prometheus' text format, or in OpenMetrics without its end.

    Args:
        own: the supervisor's page, taken as it is; its metrics are none of the workers'.
        pages: the workers' pages by their numbers.
    """
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for number, page in sorted(pages.items()):
        family = ""
        for line in page.splitlines():
            if line.startswith("# HELP "):
                family = line.split(" ", 3)[2]
            if line == END.rstrip():
                continue
            if line.startswith("# "):
                if line not in heads.setdefault(family, []):
                    heads[family].append(line)
            elif line:
                samples.setdefault(family, []).append(_labelled(line, number))
    lines = [line for family, head in heads.items() for line in (*head, *samples.get(family, ()))]
    return own + "".join(line + "\n" for line in lines)


def is_openmetrics(pages: Mapping[int, str]) -> bool:
    """Returns True if the workers have answered in OpenMetrics."""
    return bool(pages) and all(page.endswith(END) for page in pages.values())


def metric(name: str, kind: str, text: str, value: float, *, family: str | None = None) -> str:
    """A metric of one sample; `family` is its name in OpenMetrics, where that is another."""
    head = family or name
    return f"# HELP {head} {text}\n# TYPE {head} {kind}\n{name} {value}\n"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. Where it is not `needed`, requests may come even if it fails."""

    name: str
    ok: bool
    detail: str
    needed: bool = True


def readiness_of(answers: Mapping[int, Sequence[Mapping[str, Any]] | None], *, of: int) -> list[Check]:
    """Ready when somebody serves and each who serves is: new connections do not go to one that died.

    Args:
        answers: the checks of each worker that serves, by its number; None from one that does not answer.
        of: how many workers there are to be.
    """
    silent = [
        Check(f"worker {number}", ok=False, detail="does not answer")
        for number, rows in answers.items()
        if rows is None
    ]
    found: dict[str, Check] = {}
    for rows in answers.values():
        for row in rows or ():
            check = Check(row["name"], row["ok"], row["detail"], row["needed"])
            if check.name not in found or not check.ok:
                found[check.name] = check
    serving = Check("workers", ok=bool(answers), detail=f"{len(answers)} of {of} serve")
    return [serving, *silent, *found.values()]


def _labelled(sample: str, number: int) -> str:
    """A sample's name holds neither a brace nor a space; the rest of the line does not matter here."""
    end = min(at for at in (sample.find("{"), sample.find(" ")) if at >= 0)
    labels = f'{{worker="{number}"'
    if sample[end] == "{":
        return f"{sample[:end]}{labels},{sample[end + 1 :]}"
    return f"{sample[:end]}{labels}}}{sample[end:]}"
