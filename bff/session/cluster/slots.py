"""The slots of a cluster and their masters, as servers tell of them. Pure.

Rule 1: servers that do not agree are outvoted: one that is cut off from the others knows the former state.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Address = tuple[str, int]


class OddSlotsError(Exception):
    """An answer to CLUSTER SLOTS that cannot be read."""


@dataclass(frozen=True, slots=True)
class SlotMap:
    """The masters of the slots, as one server knows them.

    Attributes:
        ranges: first and last slot, and their master; in order.
        replicas: the other servers; two maps that differ in these alone are equal.
    """

    ranges: tuple[tuple[int, int, Address], ...]
    replicas: frozenset[Address] = field(default=frozenset(), compare=False)

    @property
    def masters(self) -> frozenset[Address]:
        """The servers that have slots."""
        return frozenset(address for _, _, address in self.ranges)

    def owner(self, slot: int) -> Address | None:
        """Returns the master of a slot; None where nobody has it."""
        place = bisect_right(self.ranges, slot, key=lambda part: part[0]) - 1
        if place < 0 or slot > self.ranges[place][1]:
            return None
        return self.ranges[place][2]


def parse_slots(answer: Any, asked: Address) -> SlotMap:
    """Reads the answer to CLUSTER SLOTS of the server at `asked`.

    A server that has no name for itself is the one that was asked: its own host goes in that place.

    Raises:
        OddSlotsError: it is no such answer.
    """
    try:
        ranges: list[tuple[int, int, Address]] = []
        replicas: set[Address] = set()
        for first, last, master, *others in answer:
            ranges.append((int(first), int(last), _address(master, asked)))
            replicas.update(_address(each, asked) for each in others)
    except (TypeError, ValueError, LookupError, OverflowError) as odd:
        raise OddSlotsError("CLUSTER SLOTS was answered oddly") from odd
    return SlotMap(tuple(sorted(ranges)), frozenset(replicas))


def named(host: Any, port: Any, asked: Address) -> Address:
    """Returns the address that the server at `asked` gives; one without a host has that server's own.

    Redis leaves the host out for `cluster-preferred-endpoint-type unknown-endpoint`, and says ? where it is
    to name hosts and a server has no name.
    """
    return (str(host) if host not in {None, "", "?"} else asked[0], int(port))


def _address(node: Sequence[Any], asked: Address) -> Address:
    return named(node[0], node[1], asked)


def agreed(maps: Sequence[SlotMap]) -> SlotMap | None:
    """Returns the map that most servers name, the first of those that are equally many; None of none."""
    counted = Counter(each for each in maps if each.ranges)
    return counted.most_common(1)[0][0] if counted else None
