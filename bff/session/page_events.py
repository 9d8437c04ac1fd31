"""The news of a session that its pages are told. Pure: the caller brings the time, and sends."""

import math
from dataclasses import dataclass
from typing import Literal

from bff.session.model import Session

_MOST_OF_IDLE = 0.5  # of the idle timeout: a longer notice would be given to every page that loads

EndingBy = Literal["idle", "max_lifetime"]


@dataclass(frozen=True, slots=True)
class Ending:
    """The session ends in so many seconds, unless it is used (`idle`) or in any case (`max_lifetime`)."""

    seconds: int
    reason: EndingBy


@dataclass(frozen=True, slots=True)
class Extended:
    """An end that was announced has moved: the session has so many seconds again."""

    seconds: int


@dataclass(frozen=True, slots=True)
class Refreshed:
    """The tokens were rotated, and the claims read anew where the provider sent any."""

    rotations: int


Announcement = Ending | Extended | Refreshed


@dataclass(frozen=True, slots=True)
class Told:
    """The state that one page was told of: the version of the tokens, and the end that was announced."""

    version: int
    ending: EndingBy | None = None


@dataclass(frozen=True, slots=True)
class News:
    """The announcements that are due, and the page's knowledge after them.

    `look_at` is when time alone brings more, in seconds since the epoch.
    """

    announcements: tuple[Announcement, ...]
    told: Told
    look_at: float


def notice_of(idle_timeout: float, notice: float) -> float:
    """Returns how long before its end a session is announced, in seconds: half of `idle_timeout` at most."""
    return min(notice, _MOST_OF_IDLE * idle_timeout)


def news(told: Told, session: Session, now: float, *, idle_timeout: float, notice: float) -> News:
    """Compares a session with a page's knowledge of it.

    `notice` is as for `notice_of`; with 0 no end is announced.
    """
    idle_end = session.seen + idle_timeout
    end = min(idle_end, session.ends)
    left = end - now
    notice = notice_of(idle_timeout, notice)
    due: list[Announcement] = []
    if session.version > told.version:
        due.append(Refreshed(session.rotations))
    ending: EndingBy | None = None
    look_at = math.inf  # an end that is near moves, or comes, by a change of the session
    if left <= notice and notice:
        ending = "idle" if idle_end < session.ends else "max_lifetime"
        if ending != told.ending:
            due.append(Ending(max(0, math.ceil(left)), ending))
    else:
        look_at = end - notice
        if told.ending is not None:
            due.append(Extended(math.floor(left)))
    return News(tuple(due), Told(max(told.version, session.version), ending), look_at)
