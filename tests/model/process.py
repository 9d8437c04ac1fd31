"""What a process does, step by step as `bff/refresh/` has it, and what can go wrong with each step."""

from collections.abc import Iterator
from typing import NamedTuple

from tests.model.state import GONE, UNAVOIDABLE, At, Ender, Lock, Note, Process, Provider, Rules, State


class Move(NamedTuple):
    """A step of one process: the words, everything else, itself; what it breaks, and what excuses it."""

    what: str
    state: State
    me: Process
    broken: str = ""
    excuse: str = ""


class Processes:
    """The moves of any process under some rules. With `counted` faults sendings too many are counted."""

    def __init__(self, rules: Rules, provider: Provider, *, counted: bool) -> None:
        self._rules = rules
        self._provider = provider
        self._counted = counted
        self._moves = {
            At.REST: self._rest,
            At.LOCK: self._lock,
            At.READ: self._read,
            At.MARK: self._mark,
            At.LOOK: self._look,
            At.SEND: self._send,
            At.SAVE: self._save,
            At.REVOKE: self._revoke,
            At.END: self._end,
            At.AGAIN: self._again,
            At.CLEAR: self._clear,
            At.RELEASE: self._release,
        }

    def moves(self, state: State, me: Process) -> Iterator[Move]:
        """What it can do next."""
        return self._moves[me.at](state, me)

    def faults(self, state: State, me: Process) -> Iterator[Move]:
        """What can go wrong with it."""
        if me.at is At.REST:
            return
        between = me.at in (At.AGAIN, At.REVOKE) or (me.at is At.SAVE and not me.wrote)
        lock = Lock.LEFT if me.locked else state.lock
        notes = state.notes | (Note.DIED if between else 0)
        yield Move("dies", state._replace(lock=lock, notes=notes), Process())
        yield from self._unlucky(state, me)

    # Before the token is sent

    def _rest(self, state: State, _: Process) -> Iterator[Move]:
        if GONE < state.version <= state.over:
            yield Move("finds the token over", state, Process(At.LOCK, state.version, state.token))

    def _lock(self, state: State, me: Process) -> Iterator[Move]:
        yield Move("gives up waiting", state, Process())
        if state.lock is Lock.FREE or not self._rules.lock:
            held = state._replace(lock=Lock.HELD) if self._rules.lock else state
            at = At.READ if self._rules.reread else At.MARK
            yield Move("takes the lock", held, me._replace(at=at, locked=True))

    def _read(self, state: State, me: Process) -> Iterator[Move]:
        if state.version != me.version:
            became = "is gone" if state.version == GONE else "has been rotated"
            yield Move(f"reads that the session {became}", state, me.released())
        else:
            mine = me._replace(at=At.MARK, marker=state.marker, marked=True, token=state.token)
            yield Move("reads the session again", state, mine)

    def _mark(self, state: State, me: Process) -> Iterator[Move]:
        mine = me._replace(at=At.LOOK, marked=True)
        if not self._rules.marker:
            yield Move("leaves no marker", state, mine)
        elif self._rules.reread and not (state.version == me.version and me.marked):
            yield Move("cannot leave its marker", state, me.released())
        else:
            yield Move("leaves its marker", state.with_marker(marker=True), mine)

    def _look(self, state: State, me: Process) -> Iterator[Move]:
        if me.locked or not self._rules.look:
            yield Move("looks at the lock", state, me._replace(at=At.SEND, saw_lock=me.locked))
        else:
            yield Move("sees its lock lost", state, self._not_sent(me))

    # The token

    def _send(self, state: State, me: Process) -> Iterator[Move]:
        if not (self._rules.patience or me.again or state.flying):
            given_up = state._replace(flying=me.token + 1, sent=state.sent | 1 << me.token)
            yield Move(f"sends token {me.token}, and gives the call up", given_up, me._replace(at=At.AGAIN))
        after, new = self._asked(state, me)
        broken = excuse = ""
        if after.excess > state.excess or state.sent >> me.token & 1:
            excuse = me.exception()
            broken = "" if excuse else f"token {me.token} is sent twice, and none of the exceptions allows it"
        if new is None:
            mine = me._replace(at=At.END)
            yield Move(f"sends token {me.token}: invalid_grant", after, mine, broken, excuse)
        else:
            mine = me._replace(at=At.SAVE, token=new)
            yield Move(f"sends token {me.token}, gets token {new}", after, mine, broken, excuse)

    def _asked(self, state: State, me: Process) -> tuple[State, int | None]:
        after, new = self._provider.asked(state, me.token)
        if self._counted and state.sent >> me.token & 1:
            after = after._replace(excess=after.excess + 1)
        return after, new

    def _not_sent(self, me: Process) -> Process:
        return me.released() if me.again and self._rules.doubt else me._replace(at=At.CLEAR)

    def _again(self, state: State, me: Process) -> Iterator[Move]:
        yield Move("leaves it to the next", state, me.released())
        unchanged = state.version == me.version and me.marked and me.locked
        if unchanged and not (me.again or me.marker):
            yield Move("will send once more", state, me._replace(at=At.LOOK, again=True))

    def _clear(self, state: State, me: Process) -> Iterator[Move]:
        fits = state.version == me.version and (me.marked or not self._rules.own_marker)
        after = state.with_marker(marker=me.marker) if fits else state
        yield Move("puts back what stood in its marker's place", after, me.released())

    # What came of it

    def _save(self, state: State, me: Process) -> Iterator[Move]:
        rules = self._rules
        if state.version == GONE and rules.existence:
            at = At.REVOKE if rules.give_back else At.RELEASE
            yield Move("finds the session gone", state, me._replace(at=at))
        elif me.wrote and rules.write_id:
            yield Move("hears that its write was done", state, me.released())
        elif state.version not in (me.version, GONE) and rules.fence:
            broken = "a write of its own is taken for somebody else's" if me.wrote else ""
            yield Move("finds the session rotated by somebody else", state, me.released(), broken)
        else:
            broken = ""
            if state.version == GONE:
                broken = "a session that had ended is there again"
            elif state.version != me.version:
                broken = "newer tokens are written over"
            yield Move(
                f"saves token {me.token}", state.saved(me.version + 1, me.token), me.released(), broken
            )

    def _revoke(self, state: State, me: Process) -> Iterator[Move]:
        yield Move("revokes what came too late", self._provider.revoked(state, me.token), me.released())

    def _end(self, state: State, me: Process) -> Iterator[Move]:
        if state.version == GONE or (self._rules.end_fence and state.version != me.version):
            yield Move("finds nothing to end", state, me.released())
            return
        broken = ""
        if self._provider.accepts(state, state.token):
            broken = "a session is ended whose token the provider accepts"
        elif state.ender is Ender.NOBODY and not state.notes & UNAVOIDABLE:
            broken = "a session is lost without need"
        elif state.ender is Ender.NOBODY and not (me.marker or me.again or state.notes & Note.STOPPED):
            broken = "a session is lost, and nobody knows why"
        yield Move("ends the session", state.deleted(), me.released(), broken)

    def _release(self, state: State, me: Process) -> Iterator[Move]:
        if me.locked and self._rules.lock:
            state = state._replace(lock=Lock.FREE)
        elif not self._rules.owner and state.lock is Lock.HELD:
            others = tuple(each._replace(locked=False) for each in state.processes)
            state = state._replace(lock=Lock.FREE, processes=others)
        yield Move("gives the lock up", state, Process())

    def _unlucky(self, state: State, me: Process) -> Iterator[Move]:
        """What can go wrong beside its own death."""
        match me.at:
            case At.MARK if self._rules.marker and state.version == me.version and me.marked:
                done = state.with_marker(marker=True)
                yield Move("leaves its marker, and Redis' answer is lost", done, me.released())
            case At.SEND:
                yield Move("cannot reach the provider", state, self._not_sent(me))
                yield Move("sends nothing that the provider acts on", state, me._replace(at=At.AGAIN))
                after, new = self._asked(state, me)
                lost = after._replace(notes=after.notes | (0 if new is None else Note.LOST))
                yield Move(f"sends token {me.token}, and the answer is lost", lost, me._replace(at=At.AGAIN))
            case At.SAVE:
                if not me.wrote and state.version == me.version:
                    done, wrote = state.saved(me.version + 1, me.token), me._replace(wrote=True)
                    yield Move(f"saves token {me.token}, and Redis' answer is lost", done, wrote)
                lost = state if me.wrote else state._replace(notes=state.notes | Note.GAVE_UP)
                yield Move("gives up saving", lost, me.released())
            case At.REVOKE:
                after = state._replace(notes=state.notes | Note.LEAKED)
                yield Move("cannot reach the provider to revoke", after, me.released())
            case At.MARK | At.READ | At.END | At.CLEAR:
                yield Move("finds Redis away", state, me.released())
            case At.RELEASE if me.locked:
                yield Move("cannot give the lock up", state._replace(lock=Lock.LEFT), Process())
