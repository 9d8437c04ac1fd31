"""The slots of a cluster, as servers tell of them, on paper."""

from typing import Any

import pytest
from pydantic import SecretStr
from redis.exceptions import AskError

from bff.session.cluster.slots import OddSlotsError, SlotMap, agreed, parse_slots
from bff.session.cluster.topology import Topology
from bff.settings.model import RedisSettings

A, B, C = ("a", 1), ("b", 2), ("c", 3)
ASKED = ("asked", 9)


def test_an_answer_is_read() -> None:
    """In the order of the slots; a server without a name for itself is the one that was asked."""
    itself = ("asked", 1)
    answer = [
        [100, 199, ["b", 2, "id"], ["c", 3, "id"]],
        [0, 50, ["", 1, "id"]],
        [60, 99, [None, 1, "id", []]],
    ]
    found = parse_slots(answer, ASKED)
    assert SlotMap(((0, 50, ("asked", 1)), (60, 99, ("asked", 1)), (100, 199, B))) == found
    assert {itself, B} == set(found.masters)
    assert {C} == set(found.replicas)
    assert [("asked", 1), None, ("asked", 1), B, None] == [
        found.owner(slot) for slot in (0, 55, 99, 150, 200)
    ]
    assert None is SlotMap(((5, 9, A),)).owner(4)


@pytest.mark.parametrize("answer", [None, "OK", [1], [[0, 1]], [[0, 1, []]], [[0, "x", ["a", 1]]]])
def test_an_odd_answer_is_refused(answer: Any) -> None:
    """It is no map, and never half of one."""
    with pytest.raises(OddSlotsError):
        parse_slots(answer, ASKED)


def test_most_servers_are_believed() -> None:
    """One that is cut off knows the former master; one that knows of no slots says nothing."""
    former, now = SlotMap(((0, 9, A),), frozenset({B})), SlotMap(((0, 9, B),))
    assert now == agreed([former, now, SlotMap(((0, 9, B),), frozenset({C}))])
    assert former == agreed([SlotMap(()), former])
    assert None is agreed([SlotMap(())])


def test_a_server_without_a_name_is_where_the_one_that_was_asked_is() -> None:
    """As Redis sends it with `cluster-preferred-endpoint-type unknown-endpoint`."""
    topology = Topology(RedisSettings(url=SecretStr("redis+cluster://asked:9")))
    assert (("asked", 7001), True) == topology.elsewhere(AskError("7 :7001"), ASKED)
    assert {("asked", 7001)} == topology.extra
    assert (("asked", 7002), True) == topology.elsewhere(AskError("7 ?:7002"), ASKED), "it has no host name"
    assert (("b", 2), True) == topology.elsewhere(AskError("7 b:2"), ASKED)
    assert None is topology.elsewhere(None, ASKED)
