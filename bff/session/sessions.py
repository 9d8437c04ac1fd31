"""Sessions by cookie: find, start, save, slide and end one; many end by `bulk_endings.py`.

The rest of the program uses this module; the store, the record and the keys meet only here.

Rule 1: a handle is never adopted: only `start` makes one, and a cookie that names no record is nobody.
Rule 2: a cookie that stands twice in a request is nobody's: a sibling host may have tossed one.
Rule 3: `StoreUnavailableError` passes through: it means "not known", never "signed out".
Rule 4: after each write, done or failed, the near cache forgets the session: the feed's word for it
comes a moment later, and a caller that we tell of the write must find it done. After a note of its use
`use_notes.py` puts it back, once Redis has shown that nothing else has changed.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from bff.crypto import Keyring, session_key
from bff.errors import Problem, StoreUnavailableError
from bff.observe.audit_events import AuditEvent
from bff.observe.logs import audit
from bff.observe.metrics import Metrics
from bff.policy.cookie_parser import cookie_values
from bff.policy.route_access import NO_ACCESS, AccessPlan
from bff.session.bulk_endings import BulkEndings
from bff.session.cached_session import CachedSession, Nearby, NearSessions
from bff.session.decrypt_cache import DecryptCache
from bff.session.end_reasons import Ended, note_of, untold
from bff.session.hash_read import Loaded
from bff.session.lifetime import ended, over, slide_due, time_is_up
from bff.session.model import (
    ID_LENGTH,
    WITHHELD,
    EndReason,
    Fence,
    Found,
    NoSession,
    OwnToken,
    Refreshing,
    Session,
    Tokens,
)
from bff.session.near_cache import NearCache
from bff.session.one_time_values import OneTimeValues
from bff.session.record import RAW_FORMAT, encode_exchanged
from bff.session.rotation_lock import SessionLock
from bff.session.rotation_policy import quiet_until
from bff.session.session_builder import Identity, PreparedSave, SessionBuilder
from bff.session.session_cookie import SessionCookie
from bff.session.session_reader import SessionReader, Then
from bff.session.store import SessionStore, Write
from bff.session.use_notes import Noted, UseNotes
from bff.settings.model import RefreshSettings, SessionSettings

__all__ = ["Found", "NoSession", "Sessions"]


class Sessions:
    """The sessions of one frontend.

    `clock` gives seconds since the epoch. Without a `cache` Redis is asked each time. Claims are kept that a
    page is `shown`, or the `plan` of the routes asks for. Sessions of others than the `providers` end, if any
    are named. `missed` hears the key of each that was not there, `ended` of each that is ended here.
    """

    def __init__(
        self,
        *,
        store: SessionStore,
        keyring: Keyring,
        cookie: SessionCookie,
        settings: SessionSettings,
        metrics: Metrics,
        clock: Callable[[], float],
        cache: NearCache | None = None,
        refresh: RefreshSettings | None = None,
        shown: tuple[str, ...] | None = None,
        plan: AccessPlan = NO_ACCESS,
        providers: Collection[str] | None = None,
        frontend: str = "",
        missed: Callable[[str], None] = lambda _: None,
        ended: Ended = untold,
    ) -> None:
        self.cookie = cookie
        self._cookie_name = cookie.name.encode()
        self._in_memory = NearSessions(cache, cookie.name)
        # Calls ask it directly, where these sessions add nothing to it.
        self.nearby: Nearby = self._in_memory if type(self).near is Sessions.near else self
        self._store = store
        self._keyring = keyring
        self.decrypted = self._before = before = DecryptCache(
            keyring, settings.near_cache_memory if cache is None else 0
        )
        self._accepted = before.handle if cache is None else keyring.accepts  # `DecryptCache`, Rule 3
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._cache = cache
        self._refresh = refresh or RefreshSettings()
        self._providers = providers
        reader = partial(SessionReader, store=store, before=before, settings=settings, clock=clock)
        self._reader = reader(refresh=self._refresh, cache=cache, plan=plan, providers=providers)
        self._builder = SessionBuilder(keyring, settings, shown, plan, frontend)
        self._missed = missed
        self._ended = ended
        self.frontend = frontend
        self.bulk = BulkEndings(store, settings, metrics, clock, ended=ended, forgetting=self._forgetting)
        self._uses = UseNotes(store=store, keyring=keyring, settings=settings, clock=clock, cache=cache)
        self._unsure_locks: dict[str, tuple[str, ...]] = {}

    @property
    def one_time(self) -> OneTimeValues:
        """The values that are good once: a sign-in's state, a logout token."""
        return self._store.one_time

    def begun(self, found: Found) -> tuple[list[str], dict[str, str]]:
        """Returns the `Set-Cookie` values that hand the browser a new session, and further fields."""
        return [self.cookie.set(found.handle)], {}

    def cleared(self) -> list[str]:
        """Returns the `Set-Cookie` values that take a session away from its browser."""
        return [self.cookie.clear()]

    async def find(self, cookie_headers: Iterable[bytes], *, address: str | None = None) -> Found | NoSession:
        """Looks a request's session up, given the values of its `Cookie` headers.

        `address` is the client's, for the audit log.
        """
        values = cookie_values(cookie_headers, self._cookie_name)
        handle = self._accepted(values[0]) if len(values) == 1 else None
        if handle is not None:
            return await self.open(handle)
        if values:
            reason = "not signed by this server" if len(values) == 1 else "cookie stands twice"
            audit("handle_rejected", address=address, reason=reason, frontend=self.frontend)
        return NoSession(Problem.SESSION_MISSING)

    def cached(self, cookie_headers: Sequence[bytes]) -> Found | None:
        """The session of a request as the near cache has it; None to ask `find`."""
        cookie_header = b";".join(cookie_headers)
        near = self._in_memory.near(cookie_header)
        if near is None:
            if self._cache is not None:
                self._missed_handle(cookie_header)
            return None
        found = near.found
        return None if ended(found.session, self._clock()) else found

    def near(self, cookie_header: bytes) -> CachedSession | None:
        """The session of the only `Cookie` header, from the near cache; None to ask `reader` or `find`.

        It may be over: see its `quiet_until`.
        """
        return self._in_memory.near(cookie_header)

    def reader(self, cookie_header: bytes) -> Callable[[Then], None] | None:
        """Returns a reader, from Redis, of the session of the only `Cookie` header; None if it names none."""
        handle = self._missed_handle(cookie_header)
        return None if handle is None else partial(self._reader.read, handle)

    def _missed_handle(self, cookie_header: bytes) -> str | None:
        """Returns the handle of ours that the only `Cookie` header names, if any, and counts the miss."""
        value = self._in_memory.value(cookie_header)
        handle = None if value is None else self._accepted(value)
        if value is None or handle is None:
            return None
        if self._cache is not None:
            self._cache.missed(value)
        return handle

    def quiet_until(self, session: Session) -> float:
        """Returns until when a session in use needs nothing done, in seconds since the epoch."""
        return quiet_until(session, self._refresh, self._settings)

    async def open(self, handle: str) -> Found | NoSession:
        """Reads the session that a handle of ours names, as it stands in Redis now."""
        key = session_key(handle)
        outcome = await self._read(key, handle)
        return replace(outcome, key=key) if isinstance(outcome, NoSession) else outcome

    async def _read(self, key: str, handle: str) -> Found | NoSession:
        if self._cache is None:
            return await self._opened(key, handle, await self._store.load_noted(key))
        with self._cache.reading(key) as reading:
            if reading.spoiled:
                return await self._opened(key, handle, await self._store.load_noted(key))
            loaded = await self._store.load_noted(key, timed=True)
            outcome = await self._opened(key, handle, loaded)
            if isinstance(outcome, Found) and loaded is not None:
                self._reader.keep(reading, handle, outcome.session, loaded)
            return outcome

    async def _opened(self, key: str, handle: str, loaded: Loaded | None) -> Found | NoSession:
        if loaded is None:
            self._before.forget(key)
            self._missed(key)
            return over(await self._store.endings.why(key) or EndReason.UNKNOWN)
        record = loaded.fields
        session = self._before.session(key, record, handle)
        if session is None:
            who = {"sub": record.get("sub"), "address": record.get("ip"), "frontend": self.frontend}
            audit("record_tampered", session=key[:ID_LENGTH], **who)
            return NoSession(Problem.SESSION_ENDED, EndReason.TAMPERED)
        if (reason := note_of(loaded.note, session.version)) is not None:
            return over(reason)  # it is ending just now, or somebody put it back
        if (reason := self.time_is_up(session)) is not None:
            await self.end(session, reason)
            return over(reason)
        return Found(handle, session)

    def audit(self, event: AuditEvent, session: Session, **fields: Any) -> None:
        """Writes an audit event about one of these sessions."""
        named = {"frontend": self.frontend, "provider": session.provider}
        audit(event, sub=session.sub, session=session.id, **named, **fields)

    def time_is_up(self, session: Session) -> EndReason | None:
        """Returns why the session's time is up, or its provider's; None while neither is."""
        if self._providers is not None and session.provider not in self._providers:
            return EndReason.PROVIDER_REMOVED
        return time_is_up(session, self._clock(), self._settings)

    async def start(self, identity: Identity, tokens: Tokens, **more: Any) -> Found:
        """Writes a new session under a new handle; `more` is as for `SessionBuilder.first`."""
        now, handle = self._clock(), self._keyring.new_handle()
        made = self._builder.first(handle, identity, tokens, now, **more)
        await self._store.create(
            made.session,
            made.record,
            now=now,
            idle_timeout=self._settings.idle_timeout,
        )
        self._metrics.session_started()
        return Found(handle, made.session)

    def prepare(self, found: Found, tokens: Tokens, *, claims: Mapping[str, Any] | None) -> PreparedSave:
        """Builds the next version of a session, ready to be written as often as it takes.

        Raises:
            ValueError: the session comes from the near cache, which does not hold all that is to be written.
        """
        if found.session.tokens.refresh_token == WITHHELD:
            raise ValueError("a session from the near cache cannot be saved")
        return self._builder.next(found.session, found.handle, tokens, self._clock(), claims=claims)

    async def save(self, prepared: PreparedSave) -> Write:
        """Compare-and-set on `version`. After `StoreUnavailableError` the same save may be repeated."""
        session = prepared.session
        with self._forgetting(session.key):
            written = await self._store.replace(
                session,
                prepared.record,
                expected_version=prepared.expected_version,
                now=self._clock(),
                idle_timeout=self._settings.idle_timeout,
            )
        if written is Write.REPLACED and prepared.left_sid is not None:
            with suppress(StoreUnavailableError):  # the tokens are saved; a dead member does no harm
                await self._store.index.leave_sid(session.provider, prepared.left_sid, session.key)
        return written

    async def mark_refreshing(
        self, session: Session, marker: Refreshing | None, *, expected: Refreshing | None = None
    ) -> Write:
        """Sets or clears the marker that says that the refresh token is being spent.

        With `expected` it does so only while that is the marker.
        """
        with self._forgetting(session.key):
            return await self._store.mark_refreshing(
                session.key, marker, expected_version=session.version, expected=expected
            )

    async def keep_exchanged(self, found: Found, audience: str, token: OwnToken) -> Write:
        """Keeps a token for one backend, unless tokens of the session have changed since it was opened."""
        session = found.session
        newer = replace(session, exchanged={**session.exchanged, audience: token})
        raw = self._settings.record_format == RAW_FORMAT
        sealed = encode_exchanged(newer, found.handle, self._keyring, raw=raw)
        with self._forgetting(session.key):
            return await self._store.keep_exchanged(session, sealed)

    def slide_due(self, session: Session) -> bool:
        """True if a note would be written now: the last one is old enough, and none is under way."""
        return slide_due(session, self._clock(), self._settings) and session.key not in self._uses.under_way

    async def slide(self, found: Found) -> bool:
        """Notes that the session is in use, if that is due; returns True if it was, and is noted now.

        A note that is under way is waited for: who is told of the session is told of that use.
        """
        session, uses = found.session, self._uses
        if not slide_due(session, self._clock(), self._settings):
            return False
        noted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        then = partial(_settle, noted)
        if session.key in uses.under_way:
            uses.join(session.key, then)
        else:
            uses.begin(session, found.handle, then, at_once=True)
        await noted
        return True

    def begin_note(self, found: Found, then: Noted) -> None:
        """Begins the note that is due (`slide_due`) of a session in use; tells `then` once it is over."""
        self._uses.begin(found.session, found.handle, then)

    def note_use(self, cached: CachedSession, then: Noted) -> None:
        """Notes that a session is in use that is `quiet` no more, unless that is being noted."""
        if cached.key not in self._uses.under_way:
            self._uses.begin(cached, cached.value.decode("ascii"), then)

    async def end(
        self, session: Session, reason: EndReason, *, provider_revoked: bool = False, fence: Fence = None
    ) -> bool:
        """Ends a session for everyone, at once. True if this call was the one that ended it.

        With a `fence` it is left alone if somebody has saved newer tokens.
        """
        with self._forgetting(session.key):
            deleted = await self._store.end(session, reason, fence=fence, kept=self._settings.idle_timeout)
        if deleted:
            self._metrics.session_ended(reason)
            self.audit("session_ended", session, reason=reason, provider_revoked=provider_revoked)
            self._ended(session.id, session.sub, reason)
        return deleted

    async def supersede(self, browser: str, session: Session, lifetime: float) -> None:
        """Makes a session the one of its browser: the one that it had until now is ended.

        `browser` names the browser among sign-ins under way. Of several that end at the same moment, each
        without the other's cookie, the last one here stays (B-19).
        """
        former = await self.one_time.swap("browser", browser, session.key, lifetime=lifetime)
        if former is None or former == session.key:
            return
        await self.bulk.end_keys([former], EndReason.SIGNED_IN_AGAIN)

    def lock(self, session: Session) -> SessionLock:
        """The lock under which a session's tokens are rotated."""
        return SessionLock(self._store.locks, session.key, self._unsure_locks)

    def idle_left(self, session: Session, now: float) -> float:
        """Seconds until the session ends for want of use."""
        return max(0.0, min(session.seen + self._settings.idle_timeout, session.ends) - now)

    @contextmanager
    def _forgetting(self, *keys: str) -> Iterator[None]:
        try:
            yield
        finally:
            if self._cache is not None:
                for key in keys:
                    self._cache.forget(key)


def _settle(noted: "asyncio.Future[None]", _: str, failure: StoreUnavailableError | None) -> None:
    if noted.done():
        return  # its caller has gone away
    if failure is None:
        noted.set_result(None)
    else:
        noted.set_exception(failure)
