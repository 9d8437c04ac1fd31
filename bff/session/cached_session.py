"""A session as the near cache keeps it, one piece of bytes, and the look-up of a call's session there.

Rule 1: it holds the data for forwarded calls. The refresh token, the ID token, the claims that no route asks
for, and the fields for people (name, user agent, address) are left out: code that needs these reads Redis.
Rule 2: a session that is built from it says so: where there is a refresh token it shows `WITHHELD` instead.
Rule 3: the layout is known to this file alone; it never leaves the process.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from struct import Struct
from typing import Any, Protocol

from bff.policy.cookie_parser import only_value
from bff.policy.route_access import NO_ACCESS, AccessPlan
from bff.session.json_bytes import read_json, write_json
from bff.session.model import (
    WITHHELD,
    CallSession,
    Found,
    OwnToken,
    Refreshing,
    Session,
    all_claims,
    new_session,
    new_tokens,
)
from bff.session.near_cache import HEAD, NearCache

_HOT = Struct(f"{HEAD}ddII?")  # quiet until, good until, the token's begin and end, bound or not
_COLD_FORM = "32sdqI5d??B"  # the last: how long the key is that the token is bound to
_COLD, _FIXED = Struct("<" + _COLD_FORM), Struct(_HOT.format + _COLD_FORM)
_SEEN = Struct("<d")
_VIEW = Struct("<dII")  # until when one route lets the session in, where its header lines begin and end
_FINGERPRINT = Struct("<q")
_COLD_AT = _HOT.size
_SEEN_AT = _COLD_AT + 32
_FINGERPRINT_AT = _SEEN_AT + _SEEN.size
_KEY_END = _COLD_AT + 32
_CR, _LF, _NUL, _SEMICOLON = b"\r\n\0;"  # numbers: one is found at an eighth of the price of a piece
_VIEWS_AT = _COLD_AT + _COLD.size
_new = object.__new__
_NEVER = math.nan  # a time that is not known, packed


class CachedSession:
    """A session of the near cache, or on its way there.

    Attributes:
        value: the cookie's value that leads to it.
        entry: all of it; its beginning is the near cache's.
        bound: the session is bound to a device.
        key: the session's key.
        token: the access token.
        quiet_until: before that moment a call with it has nothing to wait for and nothing to note, in
            seconds since the epoch.
        good_until: before that moment a call with it has nothing to wait for; its use may have to be noted.
        lines: the header lines of the route that it was read for, where that route has some (`allowed`).
    """

    __slots__ = ("_texts_at", "bound", "entry", "good_until", "key", "lines", "quiet_until", "token", "value")

    lines: bytes

    def __init__(self, value: bytes, entry: bytes) -> None:
        _, _, self.quiet_until, self.good_until, begin, end, self.bound = _HOT.unpack_from(entry)
        self.token = entry[begin:end]
        self.entry = entry
        self.value = value
        self._texts_at = end
        self.key = entry[_COLD_AT:_KEY_END].hex()

    @classmethod
    def of(
        cls,
        handle: str,
        session: CallSession,
        quiet_until: float,
        good_until: float = -math.inf,
        fingerprint: int = 0,
        *,
        plan: AccessPlan = NO_ACCESS,
    ) -> "CachedSession":
        """Packs a session; the moments are those of `rotation_policy`, the fingerprint that of its record.

        It holds the claims that the `plan` of the routes asks for, and how each of these routes sees it.
        """
        views, kept = b"", None
        if plan.names or plan.by_path:
            kept, views = plan.kept(session.claims), _packed_views(plan, session)
        tokens = session.tokens
        token, proof_key = tokens.access_token.encode(), (tokens.proof_key or "").encode()
        token_at = _VIEWS_AT + len(views) + len(proof_key)
        token_end = token_at + len(token)
        if _CR in token or _LF in token or _NUL in token:
            quiet_until = good_until = -math.inf  # the forwarder refuses to send it
        entry = b"".join(
            (
                _FIXED.pack(
                    0.0,
                    0,
                    quiet_until,
                    good_until,
                    token_at,
                    token_end,
                    session.bound,
                    bytes.fromhex(session.key),
                    session.seen,
                    fingerprint,
                    session.version,
                    session.created,
                    session.ends,
                    tokens.obtained_at,
                    _NEVER if (end := tokens.access_expires_at) is None else end,
                    _NEVER if (end := tokens.refresh_expires_at) is None else end,
                    tokens.refresh_token is not None,
                    tokens.refresh_end_moves,
                    len(proof_key),
                ),
                views,
                proof_key,
                token,
                write_json(_texts(session, kept)),
            )
        )
        made: CachedSession = _new(cls)  # its `__init__` would take apart what has just been put together
        made.quiet_until, made.good_until, made.bound = quiet_until, good_until, session.bound
        made.value, made.entry, made.token = handle.encode("ascii"), entry, token
        made.key = session.key
        made._texts_at = token_end
        return made

    @property
    def version(self) -> int:
        """The session's version."""
        number: int = _COLD.unpack_from(self.entry, _COLD_AT)[3]
        return number

    @property
    def ends(self) -> float:
        """The latest end of the session, in seconds since the epoch."""
        moment: float = _COLD.unpack_from(self.entry, _COLD_AT)[5]
        return moment

    @property
    def seen(self) -> float:
        """The noted use of the session, in seconds since the epoch."""
        moment: float = _SEEN.unpack_from(self.entry, _SEEN_AT)[0]
        return moment

    @property
    def sub(self) -> str:
        """The subject of the session."""
        name: str = read_json(self.entry[self._texts_at :])[1]
        return name

    def last_moment(self, idle: float) -> float:
        """Returns when its time is up if nobody uses it: `lifetime.last_moment`, with `idle` worked out."""
        cold = _COLD.unpack_from(self.entry, _COLD_AT)
        seen: float = cold[1]
        ends: float = cold[5]
        return min(ends, seen + idle)

    @property
    def provider(self) -> str:
        """The name of the session's provider, the first of the texts; JSON leaves a slug as it is."""
        begin = self.entry.index(b'"', self._texts_at) + 1
        return self.entry[begin : self.entry.index(b'"', begin)].decode()

    @property
    def proof_key(self) -> bytes:
        """The text of the key that the token is bound to (RFC 9449); empty for a bearer token."""
        length: int = _COLD.unpack_from(self.entry, _COLD_AT)[-1]
        begin = self._texts_at - len(self.token)
        return self.entry[begin - length : begin]

    @property
    def found(self) -> Found:
        """The session without the data that Rule 1 names, and its handle."""
        return Found(self.value.decode("ascii"), self._session())

    @property
    def fingerprint(self) -> int:
        """The fingerprint of the record that the session was read from."""
        number: int = _FINGERPRINT.unpack_from(self.entry, _FINGERPRINT_AT)[0]
        return number

    def allowed(self, index: int, now: float) -> "CachedSession | None":
        """Returns the session with its `lines` for the route of this index; None if that must be judged."""
        until, begin, end = _VIEW.unpack_from(self.entry, _VIEWS_AT + index * _VIEW.size)
        if now >= until:
            return None
        self.lines = self.entry[begin:end]
        return self

    def used(self, seen: float, quiet_until: float) -> bytes:
        """Returns the entry of this session as used last at `seen`, and quiet until `quiet_until`."""
        entry = bytearray(self.entry)
        begin, end = self._texts_at - len(self.token), self._texts_at
        quiet_until = min(quiet_until, self.good_until)
        _HOT.pack_into(entry, 0, 0.0, 0, quiet_until, self.good_until, begin, end, self.bound)
        _SEEN.pack_into(entry, _SEEN_AT, seen)
        return bytes(entry)

    def _session(self) -> Session:
        cold = _COLD.unpack_from(self.entry, _COLD_AT)
        (
            key,
            seen,
            _,
            version,
            created,
            ends,
            obtained,
            access_end,
            refresh_end,
            renewable,
            end_moves,
            bound,
        ) = cold
        provider, sub, sid, *more = read_json(self.entry[self._texts_at :])
        marker, exchanged, claims = (*more, {})[:3] if more else (None, {}, {})
        tokens = new_tokens(
            self.token.decode(),
            obtained,
            _time(access_end),
            WITHHELD if renewable else None,
            _time(refresh_end),
            None,
            "",
            end_moves,
            self.proof_key.decode() if bound else None,
        )
        return new_session(
            key.hex(),
            version,
            provider,
            sub,
            sid,
            "",
            created,
            seen,
            ends,
            tokens,
            claims,
            0,
            None if marker is None else Refreshing(*marker),
            "",
            "",
            "",
            {audience: OwnToken(*own) for audience, own in exchanged.items()},
            "",
            self.bound,
        )


class Nearby(Protocol):
    """Finds the session of a call, if that takes no wait."""

    def near(self, cookie_header: bytes) -> CachedSession | None:
        """The session of the only `Cookie` header, from the near cache; None to ask Redis.

        It may be over: see its `quiet_until`.
        """


class NearSessions:
    """The sessions of one frontend in the near cache.

    One small object: calls of a hundred frontends come in turn, and each further one is a place in memory
    that the others have pushed out of the processor's caches. So it asks the cache of all, not its view.
    """

    __slots__ = ("_beginning", "_cache", "_cookie_name", "_prefix")

    def __init__(self, cache: NearCache | None, cookie_name: str) -> None:
        self._cache = None if cache is None else cache.whole
        self._prefix = b"" if cache is None else cache.prefix
        self._cookie_name, self._beginning = _in_bytes(cookie_name)

    def value(self, cookie_header: bytes) -> bytes | None:
        """The session cookie's value in the only `Cookie` header; None where it has none, or several."""
        if cookie_header.startswith(self._beginning) and _SEMICOLON not in cookie_header:
            return cookie_header[len(self._beginning) :].strip(b" \t")
        return only_value(cookie_header, self._cookie_name)

    def near(self, cookie_header: bytes) -> CachedSession | None:
        """The session of the only `Cookie` header; None where it is not here, or not to be trusted.

        A value without an entry is not counted: it may be anybody's; see `NearCache.missed`.
        """
        cache, beginning = self._cache, self._beginning
        if cookie_header.startswith(beginning) and _SEMICOLON not in cookie_header:
            value = cookie_header[len(beginning) :]  # most often; blanks behind it find nothing
        else:
            only = only_value(cookie_header, self._cookie_name)
            if only is None:
                return None
            value = only
        if cache is None or (entry := cache.entries.get(self._prefix + value)) is None:
            return None
        clock, counts, feed = cache.clock, cache.counts, cache.feed
        now = clock()
        if now >= feed.current_until:
            if not feed.catch_up(now):
                counts.bypasses += 1
                return None
            entry = cache.entries.get(self._prefix + value)
            if entry is None:  # dropped just now
                return None
        found = _new(CachedSession)  # its `__init__` is a call more
        expires, place, found.quiet_until, found.good_until, begin, end, found.bound = _HOT.unpack_from(entry)
        if now >= expires:
            counts.misses += 1  # an expired entry stays in its place until it is read again
            return None
        counts.hits += 1
        cache.used[place] = 1
        found.value, found.entry, found._texts_at = value, entry, end  # noqa: SLF001 - of this file
        found.token, found.key = entry[begin:end], entry[_COLD_AT:_KEY_END].hex()
        return found


@lru_cache(maxsize=256)
def _in_bytes(name: str) -> tuple[bytes, bytes]:
    """A cookie's name, and the beginning of a header with it; one object each, for all frontends."""
    return name.encode("ascii"), name.encode("ascii") + b"="


def _packed_views(plan: AccessPlan, session: CallSession) -> bytes:
    views = plan.views(all_claims(session), bound=session.bound)
    at = _VIEWS_AT + len(views) * _VIEW.size
    table: list[bytes] = []
    for view in views:
        table.append(_VIEW.pack(view.until, at, at + len(view.lines)))
        at += len(view.lines)
    return b"".join([*table, *(view.lines for view in views)])


def _texts(session: CallSession, kept: Mapping[str, Any] | None) -> list[Any]:
    """The parts of an entry without a place of their own; those that are rare stand there only if needed."""
    texts: list[Any] = [session.provider, session.sub, session.sid]
    marker, exchanged = session.refreshing, session.exchanged
    if marker is not None or exchanged or kept:
        texts.append(None if marker is None else [marker.at, marker.by, marker.lost])
        texts.append(
            {
                name: [own.access_token, own.obtained_at, own.expires_at, own.bound]
                for name, own in exchanged.items()
            }
        )
    if kept:
        texts.append(kept)
    return texts


def _time(packed: float) -> float | None:
    return None if math.isnan(packed) else packed
