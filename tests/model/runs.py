"""Which models are checked where: what the suite has time for, and what is left for a longer run."""

import time
from collections.abc import Iterator
from typing import get_args

from tests.model.checker import Checked, check
from tests.model.protocol import EndedBy, Protocol
from tests.model.state import Policy, State, without


def _broken(
    rule: str, problem: str, *, faults: int = 0, policy: Policy = "family", ended_by: EndedBy = "nobody"
) -> tuple[str, tuple[Protocol, str]]:
    model = Protocol(without(rule), processes=2, faults=faults, policy=policy, ended_by=ended_by)
    return rule, (model, problem)


_TWICE = "token 0 is sent twice, and none of the exceptions allows it"
_OFTEN = "a token is sent more often than there were faults"
_LEFT = "the session has ended, and its refresh token lives"
BROKEN: dict[str, tuple[Protocol, str]] = dict(
    [
        _broken("lock", _OFTEN),
        _broken("owner", _OFTEN, faults=2),
        _broken("reread", _TWICE),
        _broken("marker", _TWICE, faults=1),
        _broken("own_marker", _TWICE, faults=2),
        _broken("look", _TWICE, faults=1),
        _broken("patience", _OFTEN),
        _broken("doubt", _TWICE, faults=2),
        _broken("fence", "newer tokens are written over", faults=2, policy="grace"),
        _broken("existence", "a session that had ended is there again", ended_by="DEL"),
        _broken("write_id", "a write of its own is taken for somebody else's", faults=1),
        _broken("give_back", _LEFT, ended_by="DEL"),
        _broken(
            "end_fence", "a session is ended whose token the provider accepts", faults=1, policy="refuse"
        ),
        _broken("logout_fence", _LEFT, ended_by="logout"),
    ]
)
"""For each rule a model without it, and what the checker finds there."""


def sample() -> Iterator[Protocol]:
    """Three processes: every provider and every end with one fault, some with any two."""
    for policy in get_args(Policy):
        for ended_by in get_args(EndedBy):
            yield Protocol(faults=1, policy=policy, ended_by=ended_by)
        yield Protocol(faults=2, policy=policy)
    yield Protocol(faults=2, ended_by="DEL")


def whole() -> Iterator[Protocol]:
    """Three processes with any two or three faults; two, and in one case three, with as many as you like."""
    for policy in get_args(Policy):
        for ended_by in get_args(EndedBy):
            yield Protocol(processes=2, policy=policy, ended_by=ended_by)
            yield Protocol(faults=2, policy=policy, ended_by=ended_by)
            if ended_by != "logout":
                yield Protocol(faults=3, policy=policy, ended_by=ended_by)
    yield Protocol(policy="family")


def run(model: Protocol) -> tuple[Checked[State], str]:
    """Checks one; what came of it, and a line that says so."""
    started = time.monotonic()
    checked = check(model)
    faults = "any number of faults" if model.faults is None else f"faults: {model.faults}"
    line = (
        f"{model.processes} processes, {faults}, provider: {model.policy}, ended by {model.ended_by}: "
        f"{checked.states:,} states, {checked.steps:,} steps, {time.monotonic() - started:.1f} s"
    )
    return checked, line
