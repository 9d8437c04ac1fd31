"""The votes of Sentinels, on paper."""

from typing import Any

import pytest

from bff.session.sentinel_votes import Election, Naming, elect, is_superseded, parse_naming

OLD, NEW, ODD = ("old", 6379), ("new", 6379), ("odd", 6379)


def election(*namings: Naming, asked: int = 3) -> Election:
    found = elect(namings, asked)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "state",
    [{"config-epoch": "7"}, {"config-epoch": 7}, ["name", "m", "config-epoch", "7"], ["config-epoch", 7]],
)
def test_an_answer_is_read(state: Any) -> None:
    """Sentinel's account of the master is a map in RESP3, and a list of names and values in RESP2."""
    assert Naming(NEW, 7) == parse_naming(["new", "6379"], state)


@pytest.mark.parametrize(
    "state",
    [
        *(None, "OK", [], ["config-epoch"], [["config-epoch"], 7], {}),
        *({"config-epoch": said} for said in ("-1", "9" * 5000, None, "٣", 1.5)),
    ],
)
def test_an_epoch_that_is_not_told(state: Any) -> None:
    """The address counts all the same: an account may be allowed to ask for that alone."""
    assert Naming(NEW) == parse_naming(["new", 6379], state)


@pytest.mark.parametrize(
    "address",
    [
        *(None, "OK", 7, [], ["new"], ["new", "6379", "x"], {"new": 6379}),
        *(["new", port] for port in ("x", "0", "65536", -1, None, ["6379"], 6379.0)),
        *([host, "6379"] for host in (None, 7, "", "n" * 256, "ne\nw", "ne w", "new\x00")),
    ],
)
def test_an_address_that_is_none(address: Any) -> None:
    """It is no vote."""
    assert None is parse_naming(address, None)


def test_the_majority_is_believed() -> None:
    """The epoch of the others and the order of the answers do not count."""
    stray = Naming(ODD, 99)
    found = election(stray, Naming(NEW, 2), Naming(NEW, 3))
    assert Election(NEW, 3, 2, agreed=True, others=((ODD, 1),)) == found
    assert not election(stray, Naming(NEW, 2)).agreed
    assert not election(Naming(NEW), Naming(NEW), asked=4).agreed, "half of them is no majority"
    assert election(Naming(NEW), asked=1).agreed
    assert None is elect([], 3)


def test_without_a_majority_the_later_failover_is_believed() -> None:
    """Votes count first."""
    assert NEW == election(Naming(OLD, 1), Naming(NEW, 2)).address
    assert NEW == election(Naming(NEW, 2), Naming(OLD, 1)).address
    assert OLD == election(Naming(NEW, 2), Naming(OLD, 1), Naming(OLD, 1), asked=5).address


def test_a_master_is_left_for_one_that_was_elected_since() -> None:
    """Not for the word of few that know of no later failover: they may be cut off from the others."""
    known = election(Naming(NEW, 2), Naming(NEW, 2))
    assert not is_superseded(known, election(Naming(NEW, 2)))
    assert not is_superseded(known, election(Naming(OLD, 1)))
    assert not is_superseded(known, election(Naming(OLD, 2)))
    assert is_superseded(known, election(Naming(ODD, 3)))
    assert is_superseded(known, election(Naming(OLD, 1), Naming(OLD, 1))), "an operator set it anew"


def test_a_master_that_few_named_is_left_for_one_that_more_name() -> None:
    """Where the Sentinels do not tell epochs."""
    known = election(Naming(OLD), asked=5)
    assert is_superseded(known, election(Naming(NEW), Naming(NEW), asked=5))
    assert not is_superseded(known, election(Naming(NEW), asked=5))
