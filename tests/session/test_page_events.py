"""The news of a session, as its pages are told."""

import math
from dataclasses import replace

import pytest

from bff.session.model import Session
from bff.session.page_events import Ending, Extended, News, Refreshed, Told, news
from tests.session.sample import sample_session

pytestmark = pytest.mark.requirement("S-03")

NOW = 1_000_000.0
SESSION = sample_session(created=NOW, seen=NOW, ends=NOW + 7200, version=3, rotations=2)
TOLD = Told(3)


def of(told: Told, now: float, *, given: Session = SESSION, notice: float = 120) -> News:
    return news(told, given, now, idle_timeout=1800, notice=notice)


def test_nothing_is_due() -> None:
    """It is looked at again when the notice begins."""
    assert News((), TOLD, NOW + 1680) == of(TOLD, NOW)


def test_the_idle_end_comes_near() -> None:
    """It is told once."""
    told = Told(3, "idle")
    assert News((Ending(120, "idle"),), told, math.inf) == of(TOLD, NOW + 1680)
    assert News((Ending(30, "idle"),), told, math.inf) == of(TOLD, NOW + 1770.5)
    assert News((), told, math.inf) == of(told, NOW + 1750)
    assert News((Ending(0, "idle"),), told, math.inf) == of(TOLD, NOW + 9999)


def test_it_moves() -> None:
    """After a use of the session the page is told that it goes on, once."""
    used = replace(SESSION, seen=NOW + 1700)
    assert News((Extended(1800),), TOLD, NOW + 3380) == of(Told(3, "idle"), NOW + 1700, given=used)
    assert News((), TOLD, NOW + 3380) == of(TOLD, NOW + 1700, given=used)


def test_the_absolute_end() -> None:
    """It is announced as such, also where the page thinks that the session is only idle."""
    late = replace(SESSION, seen=NOW + 7000)
    told = Told(3, "max_lifetime")
    assert News((Ending(100, "max_lifetime"),), told, math.inf) == of(TOLD, NOW + 7100, given=late)
    assert News((Ending(100, "max_lifetime"),), told, math.inf) == of(Told(3, "idle"), NOW + 7100, given=late)


def test_a_notice_of_half_the_idle_timeout_at_most() -> None:
    """A longer one would be given to each page that loads."""
    assert News((), TOLD, NOW + 900) == of(TOLD, NOW, notice=7200)


def test_no_notice() -> None:
    """With 0 no end is announced."""
    assert () == of(TOLD, NOW + 1799.9, notice=0).announcements
    assert () == of(TOLD, NOW + 9999, notice=0).announcements


def test_rotations() -> None:
    """A newer version is told once; one that was read before the page's own says nothing."""
    newer = replace(SESSION, version=4, rotations=3)
    assert News((Refreshed(3),), Told(4), NOW + 1680) == of(TOLD, NOW, given=newer)
    assert News((), Told(4), NOW + 1680) == of(Told(4), NOW, given=newer)
    assert News((), Told(4), NOW + 1680) == of(Told(4), NOW)


def test_both_at_once() -> None:
    """A rotation and an end that is near are told together."""
    newer = replace(SESSION, version=4, rotations=3)
    assert (Refreshed(3), Ending(120, "idle")) == of(TOLD, NOW + 1680, given=newer).announcements
