"""What the model consists of: record and lock, provider, processes, and what has gone wrong so far."""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Literal, NamedTuple

GONE = 0  # as a version: there is no record


class At(IntEnum):
    """What a process does next."""

    REST = 0  # nothing
    LOCK = 1  # take the lock
    READ = 2  # read the session again
    MARK = 3  # leave the marker
    LOOK = 4  # look at the lock once more
    SEND = 5  # send the refresh token
    SAVE = 6  # save what came
    REVOKE = 7  # give back what came too late
    END = 8  # end the session: the provider has refused its token
    AGAIN = 9  # the answer was lost: send once more, or leave it to the next
    CLEAR = 10  # the token was not sent: put back what stood in the marker's place
    RELEASE = 11  # give the lock up


class Lock(IntEnum):
    """The lock, as Redis has it."""

    FREE = 0
    HELD = 1  # by the process that says so
    LEFT = 2  # by nobody who lives


class Ender(IntEnum):
    """How far somebody is with ending the session from outside: a logout reads, revokes, deletes."""

    NOBODY = 0
    READ = 1
    REVOKED = 2
    DONE = 3


class Note(IntEnum):
    """What has happened that can cost a session, or a token, as bits."""

    DIED = 1  # a process, between the answer and the save
    LOST = 2  # an answer of the provider
    STOPPED = 4  # a process, for longer than its lease
    GAVE_UP = 8  # a process, saving into a Redis that stayed away
    LEAKED = 16  # a revocation that could not be made


UNAVOIDABLE = Note.DIED | Note.LOST | Note.STOPPED | Note.GAVE_UP


class Process(NamedTuple):
    """What a process knows."""

    at: At = At.REST
    version: int = 0  # of the session that it found
    token: int = 0  # the refresh token of that version; then the one that came for it
    locked: bool = False  # whether the lock in Redis is its own
    saw_lock: bool = True  # whether it was when the process looked last
    marker: bool = False  # whether somebody's marker was there before its own
    marked: bool = False  # whether the marker is as it read it, or as it wrote it
    again: bool = False  # whether it sends for the second time
    wrote: bool = False  # whether what Redis has is its own write, whose answer it did not get

    def released(self) -> "Process":
        """It has only its lock to give up."""
        return Process(At.RELEASE, locked=self.locked)

    def exception(self) -> str:
        """What allows it to send a token that was sent before; empty: nothing does."""
        if self.saw_lock and not self.locked:
            return "stopped between its last look at the lock and the sending"
        if self.again:
            return "its own answer was lost"
        return "somebody's marker was there" if self.marker else ""


class State(NamedTuple):
    """Everything."""

    version: int  # of the record in Redis; 0: it is gone
    token: int  # the refresh token in it
    marker: bool  # `refreshing`
    lock: Lock
    issued: int  # the provider's newest refresh token
    alive: bool  # whether the family lives
    grace: bool  # whether the one before the newest is accepted yet
    sent: int  # which tokens have been sent, as bits
    excess: int  # how often one was sent again; counted where faults are
    over: int  # the newest version whose access token is over
    ender: Ender
    revoked: int  # the version that a logout has found
    flying: int  # the token of a call that was given up and that the provider is at yet, plus one; or 0
    faults: int  # how many more may happen
    notes: int
    processes: tuple[Process, ...]

    def __str__(self) -> str:
        record = f"version {self.version}, token {self.token}" if self.version else "gone"
        marker = ", marked" if self.marker else ""
        family = f"token {self.issued} is good" if self.alive else "the family is dead"
        lock = ("free", "held", "left behind")[self.lock]
        doing = " ".join(each.at.name.lower() for each in self.processes)
        return f"[record: {record}{marker}; lock: {lock}; provider: {family}; processes: {doing}]"

    def deleted(self) -> "State":
        """The record is gone."""
        return self._replace(version=GONE, token=0, marker=False)

    def with_marker(self, *, marker: bool) -> "State":
        """The marker is another: whoever knew the former one does not know this one."""
        if self.version == GONE:
            return self
        others = tuple(each._replace(marked=False) if each.marked else each for each in self.processes)
        return self._replace(marker=marker, processes=others)

    def saved(self, version: int, token: int) -> "State":
        """The record has a version with new tokens; what others wrote is no longer what it has."""
        others = tuple(each._replace(wrote=False) if each.wrote else each for each in self.processes)
        return self._replace(version=version, token=token, marker=False, processes=others)


Policy = Literal["family", "refuse", "grace", "forgiving"]
"""What a provider does with a refresh token that was used before: it ends the whole family; it refuses it,
and does nothing else; it gives the newest again, within a grace that may end at any time, or that
(`forgiving`) ends with the use of that newest one only."""


@dataclass(frozen=True)
class Provider:
    """The provider's side. It takes a token that is revoked after its use for nothing: no help from there."""

    policy: Policy

    def accepts(self, state: State, token: int) -> bool:
        """Whether the token is good for new ones."""
        return state.alive and (token == state.issued or (token == state.issued - 1 and state.grace))

    def asked(self, state: State, token: int) -> tuple[State, int | None]:
        """A refresh token is sent: what is so then, and the token that comes; None: `invalid_grant`."""
        sent = state._replace(sent=state.sent | 1 << token)
        if not state.alive:
            return sent, None
        if token == state.issued:
            grace = self.policy in ("grace", "forgiving")
            return sent._replace(issued=token + 1, grace=grace), token + 1
        if self.accepts(state, token):
            return sent, state.issued
        return sent._replace(alive=self.policy == "refuse"), None

    def revoked(self, state: State, token: int) -> State:
        """A token is revoked (RFC 7009), and with the newest its family."""
        return state._replace(alive=state.alive and token != state.issued)


@dataclass(frozen=True)
class Rules:
    """The protocol's own rules, each of which can be taken out to see what it is there for."""

    lock: bool = True  # one process at a time
    owner: bool = True  # the lock is given up by its owner only
    reread: bool = True  # the session is read again under the lock
    marker: bool = True  # `refreshing` is written before the token is sent
    own_marker: bool = True  # a marker is taken back by its owner only
    look: bool = True  # the lock is looked at right before the token is sent
    patience: bool = True  # a call that is under way is not given up for its slowness
    doubt: bool = True  # a marker is not taken back once an answer was lost
    fence: bool = True  # a save finds the version that its tokens were fetched for
    existence: bool = True  # a save finds a record
    write_id: bool = True  # a save whose answer was lost is known again
    give_back: bool = True  # tokens that came too late are revoked
    end_fence: bool = True  # a refused token ends the version that it belongs to, and no newer one
    logout_fence: bool = True  # a logout deletes the version whose token it has revoked, or begins anew


ALL = Rules()


def without(rule: str) -> Rules:
    """The rules but for one."""
    return replace(ALL, **{rule: False})
