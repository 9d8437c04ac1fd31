"""The master that most Sentinels name. Pure.

Rule 1: Sentinels that do not agree are outvoted: one that is cut off from the others names the former master,
and one that was set up wrongly names a server of somebody else. A failover needs most of the Sentinels, so
that the majority is never behind for longer than its news takes to spread.
Rule 2: where no majority answers, the address with most votes counts, and of equal ones that of the later
failover.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Address = tuple[str, int]

_LONGEST_HOST = 255
_LAST_PORT = 65_535
_MOST_DIGITS = 20  # of a number of 64 bits


@dataclass(frozen=True, slots=True)
class Naming:
    """One Sentinel's answer.

    Attributes:
        address: the master's host and port.
        epoch: the number of the failover that made it the master; 0 where the Sentinel does not tell.
    """

    address: Address
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Election:
    """The outcome of the votes.

    Attributes:
        address: the master's host and port.
        epoch: as `Naming`, the highest that was told for this address.
        votes: the number of Sentinels that name it.
        agreed: true if these are more than half of those that were asked.
        others: the votes of every other address.
    """

    address: Address
    epoch: int
    votes: int
    agreed: bool
    others: tuple[tuple[Address, int], ...] = ()


def parse_naming(address: Any, state: Any) -> Naming | None:
    """Reads one Sentinel's answers; returns None for an address that nobody can connect to.

    Args:
        address: the answer to SENTINEL GET-MASTER-ADDR-BY-NAME.
        state: the answer to SENTINEL MASTER, in the form of RESP2 or RESP3; None where it was refused.
    """
    match address:
        case [str(host), (str() | int()) as port] if _is_host(host):
            number = _number(port)
        case _:
            return None
    return Naming((host, number), _epoch(state)) if 0 < number <= _LAST_PORT else None


def elect(namings: Sequence[Naming], asked: int) -> Election | None:
    """Returns the address with most votes; None where there is no vote.

    Args:
        namings: the answers so far.
        asked: the number of Sentinels that were asked.
    """
    votes: dict[Address, int] = {}
    epochs: dict[Address, int] = {}
    for each in namings:
        votes[each.address] = votes.get(each.address, 0) + 1
        epochs[each.address] = max(epochs.get(each.address, 0), each.epoch)
    if not votes:
        return None
    first, *others = sorted(votes, key=lambda address: (votes[address], epochs[address]), reverse=True)
    return Election(
        first,
        epochs[first],
        votes[first],
        agreed=2 * votes[first] > asked,
        others=tuple((address, votes[address]) for address in others),
    )


def is_superseded(known: Election, newer: Election) -> bool:
    """Returns true if another master was elected since.

    Sentinels that are no majority may be cut off from the others: they must know of a later failover, or be
    more than those that named the master that is known.
    """
    if newer.address == known.address:
        return False
    outvoted = not known.agreed and newer.votes > known.votes
    return newer.agreed or newer.epoch > known.epoch or outvoted


def _is_host(host: str) -> bool:
    return 0 < len(host) <= _LONGEST_HOST and host.isprintable() and " " not in host


def _epoch(state: Any) -> int:
    """Returns `config-epoch` of a Sentinel's account of the master; 0 where it is not there."""
    if isinstance(state, list):
        pairs = zip(state[::2], state[1::2], strict=False)
        state = {name: value for name, value in pairs if isinstance(name, str)}
    return _number(state.get("config-epoch")) if isinstance(state, dict) else 0


def _number(said: Any) -> int:
    """Returns a number that may stand as text; 0 for anything else."""
    if isinstance(said, str) and said.isascii() and said.isdigit() and len(said) <= _MOST_DIGITS:
        return int(said)
    return said if isinstance(said, int) else 0
