"""Finding and ending sessions as an operator: by key, user, claim, provider and age.

Rule 1: an ending is the store's own: the note of its reason first, so that the page is told, then the record.
Everything else of it, the word to every process included, comes from that.
Rule 2: each ending is an audit event, with who asked for it and why.
Rule 3: to end all of a user, or all of theirs at one frontend, is noted first, as a sign-out by the provider
is, so that a sign-in of theirs that is under way ends as well (T-15).
Rule 4: nothing here grows with the number of sessions.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace

from bff.observe.logs import audit
from bff.session.bulk_endings import at_frontend
from bff.session.model import EndReason
from bff.session.operator_view import Entry, Selection
from bff.session.store import SessionStore

_LONGEST = 64  # characters of a session's key


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a search.

    Attributes:
        entries: the sessions in it that are meant.
        looked_at: how many were looked at.
        done: how much of the search is behind it, from 0 to 1.
        began: where the search goes on from, to see this part again; None where it cannot.
        cleaned: how many members of an index were dropped whose sessions are gone.
        ended: how many of the entries were ended.
    """

    entries: Sequence[Entry]
    looked_at: int
    done: float
    began: int | None = None
    cleaned: int = 0
    ended: int = 0


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator, as the audit log names them, and their reason."""

    name: str
    note: str | None = None


class OperatorActions:
    """The sessions of one Redis. `clock` gives seconds since the epoch.

    Args:
        store: where they are.
        providers: the names of the providers that users sign in at.
        claims: the readable claims (`session.readable_claims`).
        kept: the idle timeout.
        clock: seconds since the epoch.
        rest: how long to pause after each part of long work, as a multiple of the time that it took: so that
            live traffic has Redis and the processors to itself in between.
    """

    def __init__(
        self,
        store: SessionStore,
        *,
        providers: Sequence[str],
        claims: Sequence[str],
        kept: float,
        clock: Callable[[], float],
        rest: float = 0.0,
    ) -> None:
        self._store = store
        self._providers = providers
        self._claims = claims
        self._kept = kept
        self._clock = clock
        self._rest = rest

    async def find(self, selection: Selection, *, cursor: int = 0) -> AsyncIterator[Step]:
        """Finds sessions: those of a user by their index, all others by a scan (from `cursor` on)."""
        if selection.sub is None:
            steps = self._of_all(selection, cursor)
        else:
            steps = self._of_user(selection, selection.sub)
        loop = asyncio.get_running_loop()
        began = loop.time()
        async for step in steps:
            yield step
            if step.done < 1:
                await asyncio.sleep(self._rest * (loop.time() - began))
            began = loop.time()

    async def named(self, beginning: str, *, most: int = 2) -> list[Entry]:
        """The sessions whose key has this beginning, up to `most`."""
        inventory = self._store.inventory
        if len(beginning) == _LONGEST:
            return await inventory.read([beginning], self._claims)
        found: dict[str, Entry] = {}
        async for part in inventory.scan(beginning):
            found |= {entry.key: entry for entry in await inventory.read(part.keys, self._claims)}
            if len(found) >= most:
                break
        return list(found.values())[:most]

    async def why_ended(self, beginning: str) -> str | None:
        """Returns why the session with this beginning was ended, where that is known still."""
        return await self._store.endings.found(beginning)

    async def left(self, entry: Entry) -> float | None:
        """Seconds until the session ends if it is not used; None if it is gone."""
        return await self._store.inventory.left(entry.key)

    async def sizes(self, entries: Sequence[Entry]) -> list[int]:
        """Bytes that these sessions take in Redis; empty where this account may not ask."""
        return await self._store.inventory.sizes([entry.key for entry in entries]) if entries else []

    async def used_memory(self) -> int | None:
        """Bytes that Redis holds, all in all; None where this account may not ask."""
        return await self._store.inventory.used_memory()

    async def end(self, selection: Selection, operator: Operator) -> AsyncIterator[Step]:
        """Ends those that `find` finds; a step is told of when its sessions have ended."""
        if (name := _noted(selection)) is not None:
            for provider in self._asked(selection):  # Rule 3
                await self._store.index.note_end(provider, name, self._clock(), EndReason.OPERATOR)
        async for step in self.find(selection):
            yield replace(step, ended=await self.end_these(step.entries, operator))

    async def end_these(self, entries: Sequence[Entry], operator: Operator) -> int:
        """Ends these sessions, at once and in every process; how many there still were."""
        whose = {entry.key: (entry.provider, entry.sub, entry.sid) for entry in entries}
        if not whose:
            return 0
        ended = await self._store.end_many(whose, EndReason.OPERATOR, kept=self._kept)
        for entry in entries:
            if entry.key in ended:
                audit(
                    "session_ended",
                    sub=entry.sub,
                    session=entry.id,
                    reason=EndReason.OPERATOR,
                    operator=operator.name,
                    note=operator.note,
                    provider_revoked=False,
                    frontend=entry.frontend,
                    provider=entry.provider,
                )
        return len(ended)

    async def _of_all(self, selection: Selection, cursor: int) -> AsyncIterator[Step]:
        async for part in self._store.inventory.scan(cursor=cursor):
            entries = await self._store.inventory.read(part.keys, self._claims)
            yield Step(self._taken(entries, selection), len(entries), part.done, began=part.began)

    async def _of_user(self, selection: Selection, sub: str) -> AsyncIterator[Step]:
        providers, index = self._asked(selection), self._store.index
        for number, provider in enumerate(providers, start=1):
            async for keys, last in index.scan_user(provider, sub):
                entries = await self._store.inventory.read(keys, self._claims)
                dead = set(keys) - {entry.key for entry in entries}
                cleaned = await index.drop_dead(provider, sub, sorted(dead)) if dead else 0
                taken = self._taken(entries, selection)
                done = (number if last else number - 0.5) / len(providers)
                yield Step(taken, len(entries), done, cleaned=cleaned)

    def _asked(self, selection: Selection) -> Sequence[str]:
        return self._providers if selection.provider is None else [selection.provider]

    def _taken(self, entries: Sequence[Entry], selection: Selection) -> list[Entry]:
        now = self._clock()
        return [entry for entry in entries if selection.takes(entry, now)]


def _noted(selection: Selection) -> str | None:
    """Returns the name of the note that all of a selection have ended; None where no note says just that."""
    sub, frontend = selection.sub, selection.frontend
    if sub is None or selection != Selection(sub=sub, provider=selection.provider, frontend=frontend):
        return None
    return sub if frontend is None else at_frontend(sub, frontend)
