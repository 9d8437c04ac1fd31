"""The fault matrix: which fault strikes at which moment, and what has to become of the session.

A cell says how often the token endpoint may be called with the session's tokens, and how it ends:

    kept    the session lives, every client is served again, and nobody was ever told to sign in
    ended   it was ended by whoever may end it: the user, the operator, the provider
    lost    it is over though nobody wanted that; `why` says what no client could have helped
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tests.faults.stage import Moment
from tests.faults.strikes import EMPTY, FAULTS
from tests.support.providers.behaviour import TROUBLES

Ending = Literal["kept", "ended", "lost"]
Token = Literal["over", "usable", "fresh"]


@dataclass(frozen=True)
class Cell:
    """One fault at one moment.

    Attributes:
        calls: how often the session's refresh tokens are sent, at least and at most.
        grace: whether the provider takes a token a second time within a minute.
        token: what the access token is when the rotation begins.
        reason: that the 401 names, where the session ends.
        within: seconds from the strike until every client has the answer that stays.
    """

    fault: str
    moment: Moment
    end: Ending = "kept"
    calls: tuple[int, int] = (1, 1)
    grace: bool = False
    token: Token = "over"
    reason: str = ""
    why: str = ""
    within: float = 60.0

    @property
    def name(self) -> str:
        more = [f"token {self.token}"] if self.token != "over" and self.moment == "asked" else []
        more += ["grace"] if self.grace else []
        return f"{self.fault} @ {self.moment}" + (f" ({', '.join(more)})" if more else "")


_DEAD = (
    "the process that had the new tokens is dead, and the provider answers a second use by killing the family"
)
_CUT_OFF = "a process that is out of reach for longer than its lock and a moment more looks like a dead one"
_UNHEARD = "the provider spent the token, its answer never came, and it gives no second one"
_FORGOT = "Redis forgot what it had confirmed"

_HARMLESS = ("no expires_in", "no refresh_token", "no token_type")  # what such an answer holds can be used
ROTATION: tuple[Moment, ...] = ("lock", "marker", "arrived", "spent", "save", "saved", "release")


def _kept(
    fault: str, *moments: Moment, calls: tuple[int, int] = (1, 1), grace: bool = False
) -> Iterator[Cell]:
    return (Cell(fault, moment, calls=calls, grace=grace) for moment in moments)


def _lost(fault: str, why: str, *moments: Moment) -> Iterator[Cell]:
    """Lost without the provider's grace, and kept with it."""
    for moment in moments:
        yield Cell(fault, moment, "lost", (2, 2), reason="refresh_lost", why=why)
        yield Cell(fault, moment, calls=(2, 2), grace=True)


def _quiet(fault: str) -> Cell:
    return Cell(fault, "idle", calls=(0, 0), token="fresh")


def _workers() -> Iterator[Cell]:
    yield from map(_quiet, ("kill -9", "SIGSTOP 6 s"))
    yield from _kept("kill -9", "lock", "marker", "saved", "release")
    yield from _kept("kill -9", "arrived", calls=(2, 2))
    yield from _lost("kill -9", _DEAD, "spent", "save")
    yield from _kept("SIGSTOP 6 s", *ROTATION)
    yield from _kept("SIGSTOP 10 s", "lock", "marker", "save", "saved", "release")
    yield from _lost("SIGSTOP 10 s", _CUT_OFF, "arrived", "spent")
    yield from _kept("SIGTERM", "lock", "arrived", "spent", "save", "saved")


def _redis() -> Iterator[Cell]:
    refusing = ("Redis read-only", "Redis full", "Redis without replicas", "Redis cannot save")
    for fault in ("Redis restarts", "Redis fails over", "Redis frozen 3 s", *refusing):
        yield _quiet(fault)
        yield from _kept(fault, *ROTATION)
    yield _quiet("Redis switches over")
    yield from _kept("Redis switches over", "lock", "arrived", "save")
    yield from _kept("connections cut", *ROTATION)
    yield from _kept("Redis slow", "lock", "arrived", "save")
    yield from _kept("network pause 3 s", "lock", "marker", "spent", "save", "saved")
    yield from _kept("network pause 6 s", "lock", "spent", "save")
    yield from _kept("network pause 10 s", "lock", "marker", "saved")
    yield from _lost("network pause 10 s", _CUT_OFF, "spent", "save")
    yield from _kept("Redis gone 7 s", "marker", "spent", "save")
    yield from _lost("Redis fails over, the last write lost", _FORGOT, "save")
    yield Cell(EMPTY, "idle", "lost", (0, 0), token="fresh", reason="unknown", why=_FORGOT)
    yield Cell(EMPTY, "spent", "lost", reason="unknown", why=_FORGOT)


def _people() -> Iterator[Cell]:
    yield from _kept("client leaves", "lock", "arrived", "spent", "save")
    for moment in ("lock", "arrived", "spent", "save", "saved"):
        yield Cell("logout", moment, "ended", (0, 1), reason="logout")
        yield Cell("redis-cli DEL", moment, "ended", (0, 1), reason="unknown")


def _clocks() -> Iterator[Cell]:
    yield Cell("clock 1 h ahead", "idle", token="fresh")
    yield _quiet("clock 1 h back")
    yield from _kept("clock 1 h ahead", "arrived", "save", calls=(1, 2))
    yield from _kept("clock 1 h back", "arrived", "save")
    yield Cell("clock was ahead, then a 401", "idle", calls=(2, 2), token="fresh")


def _provider() -> Iterator[Cell]:
    for token in ("over", "usable"):
        yield Cell("provider down 2 s", "asked", token=token)
        yield Cell("provider 500 for 2 s", "asked", calls=(2, 8), token=token)
        yield Cell("provider slow 9 s", "asked", token=token)
        yield Cell("provider slow 25 s", "asked", token=token, within=90.0)
        yield Cell("family revoked", "asked", "ended", token=token, reason="invalid_grant")
        yield Cell("provider: invalid_grant", "asked", "ended", token=token, reason="invalid_grant")
        for name in _HARMLESS:
            yield Cell(f"provider: {name}", "asked", token=token)
        for name, trouble in TROUBLES.items():
            if not trouble.spends and name != "invalid_grant":
                yield Cell(f"provider: {name}", "asked", calls=(2, 3), token=token)
    for name, trouble in TROUBLES.items():
        if trouble.spends and name not in _HARMLESS:
            yield from _lost(f"provider: {name}", _UNHEARD, "asked")
    yield Cell("provider down 30 s", "asked", within=40.0)  # it is asked within five seconds of its return
    yield Cell("provider 500 for 30 s", "asked", calls=(2, 60), within=40.0)
    yield Cell("provider slow 90 s", "asked", within=150.0)
    yield Cell("backend says 401", "asked", token="fresh")


CELLS: tuple[Cell, ...] = (*_workers(), *_redis(), *_people(), *_clocks(), *_provider())

assert {cell.fault for cell in CELLS} <= FAULTS.keys()
assert len({cell.name for cell in CELLS}) == len(CELLS)
