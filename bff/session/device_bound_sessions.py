"""Sessions that may be bound to a device: one that is bound opens only to its device's proof.

In place of `Sessions` where `session.device_binding` is not "off"; a session that is not bound costs one look
at a flag more.

Rule 1: every way to a session by a request's cookies asks here: calls on both fronts, WebSockets, streams,
endpoints, forward-auth and the application around us. What ends a session asks `unproved`.
Rule 2: with `required` a session that is not bound yet needs the proof too: sign-in gives the first one, and
only a registered device another. So the browser has that long to register.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bff.crypto import Keyring
from bff.errors import Problem
from bff.observe.logs import audit
from bff.policy.device_binding import REGISTRATION, registration
from bff.session.cached_session import CachedSession
from bff.session.device_proof import DeviceProof
from bff.session.end_reasons import note_of
from bff.session.model import ID_LENGTH, Found, NoSession, Session, Unproved
from bff.session.record import device_key, format_device
from bff.session.session_cookie import SessionCookie
from bff.session.session_index import is_of
from bff.session.session_reader import Then
from bff.session.sessions import Sessions
from bff.session.store import SessionStore, Write
from bff.settings.model import ServerSettings, SessionSettings


async def unproved(
    sessions: Sessions, cookie_headers: Iterable[bytes], *, address: str | None = None
) -> Found | NoSession:
    """Looks a request's session up, its device proved or not: for what ends the session."""
    return await Sessions.find(sessions, cookie_headers, address=address)


def is_proved(sessions: Sessions, cookie_headers: Sequence[bytes], session: Session) -> bool:
    """Returns True unless a session needs a proof of its device, and a request's cookies hold none."""
    return not isinstance(sessions, BoundSessions) or sessions.opens(session, cookie_headers)


class BoundSessions(Sessions):
    """The sessions of one server; the other arguments are those of `Sessions`."""

    def __init__(
        self, *, proof: DeviceProof, required: bool, store: SessionStore, keyring: Keyring, **common: Any
    ) -> None:
        super().__init__(store=store, keyring=keyring, **common)
        self._records, self._keys = store, keyring
        self.proof = proof
        self._required = required

    def begun(self, found: Found) -> tuple[list[str], dict[str, str]]:
        """Hands the browser a new session with its first proof, and invites it to register a key."""
        cookies, fields = super().begun(found)
        key = found.session.key
        invitation = registration(self.proof.register_path, self.proof.challenge("register", key))
        return [*cookies, self.proof.set(key)], {**fields, REGISTRATION: invitation}

    def cleared(self) -> list[str]:
        """Takes the proof away with the session."""
        return [*super().cleared(), self.proof.clear()]

    async def find(self, cookie_headers: Iterable[bytes], *, address: str | None = None) -> Found | NoSession:
        """Looks a request's session up; `BINDING_REQUIRED` without the proof that it needs."""
        headers = list(cookie_headers)
        found = await super().find(headers, address=address)
        if isinstance(found, NoSession) or self.opens(found.session, headers):
            return found
        session = found.session
        reason = Unproved.NOT_PROVED if session.bound else Unproved.NOT_BOUND
        self.audit("binding_refused", session, address=address, reason=reason)
        return NoSession(Problem.BINDING_REQUIRED, reason, session.key)

    def cached(self, cookie_headers: Sequence[bytes]) -> Found | None:
        """The session as the near cache has it, if its device is proved; None to ask `find`."""
        found = super().cached(cookie_headers)
        if found is None or self.opens(found.session, cookie_headers):
            return found
        return None

    def near(self, cookie_header: bytes) -> CachedSession | None:
        """Returns the session of the only `Cookie` header, where it is in memory and proved."""
        return self._proved(super().near(cookie_header), cookie_header)

    def reader(self, cookie_header: bytes) -> Callable[[Then], None] | None:
        """Returns a reader of the session of the only `Cookie` header, which gives a proved one alone."""
        read = super().reader(cookie_header)

        def checked(then: Then) -> None:
            assert read is not None
            read(lambda found: then(self._proved(found, cookie_header)))

        return None if read is None else checked

    def _proved(self, cached: CachedSession | None, cookie_header: bytes) -> CachedSession | None:
        if cached is None or not (cached.bound or self._required):
            return cached
        return cached if self.proof.proved((cookie_header,), cached.key) else None

    def opens(self, session: Session, cookie_headers: Sequence[bytes]) -> bool:
        """Returns True if a request's cookies hold the proof that a session needs, or it needs none."""
        return not (session.bound or self._required) or self.proof.proved(cookie_headers, session.key)

    async def bind(self, key: str, public_key: str) -> Write:
        """Binds a session to the holder of a key; `STALE` where it is bound to another one."""
        with self._forgetting(key):
            return await self._records.bind(key, format_device(key, public_key, self._keys))

    async def device_of(self, key: str) -> str | NoSession:
        """Returns the public key that a session is bound to, "" if to none; `NoSession` once it is over."""
        loaded = await self._records.load_noted(key)
        try:
            if loaded is None or not is_of(self.frontend, loaded):
                return NoSession(Problem.SESSION_ENDED)
            if self._clock() >= float(loaded.fields["ends"]):
                return NoSession(Problem.SESSION_ENDED)
            if (reason := note_of(loaded.note, int(loaded.fields["version"]))) is not None:
                return NoSession(Problem.SESSION_ENDED, reason)
            return device_key(key, loaded.fields, self._keys) or ""
        except (KeyError, ValueError):
            audit("record_tampered", session=key[:ID_LENGTH], frontend=self.frontend)
            return NoSession(Problem.SESSION_ENDED)


def sessions_of(
    server: ServerSettings,
    *,
    settings: SessionSettings,
    clock: Callable[[], float],
    keyring: Keyring,
    **more: Any,
) -> Sessions:
    """Returns the sessions of an origin, as the settings want them; `more` is as for `Sessions`."""
    more |= {"settings": settings, "clock": clock, "keyring": keyring}
    more["cookie"] = SessionCookie.configured(server, settings)
    if settings.device_binding == "off":
        return Sessions(**more)
    proof = DeviceProof(keyring, server, settings, clock)
    return BoundSessions(proof=proof, required=settings.device_binding == "required", **more)
