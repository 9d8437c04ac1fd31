"""The surroundings of client connections under fuzzing: sessions, a pool, scripted backends."""

import asyncio
import functools
import math
from dataclasses import dataclass
from typing import Any

from bff.credentials.credential_choice import CredentialChoice
from bff.credentials.identity_fields import IdentityFields
from bff.credentials.session_credentials import Credentials
from bff.crypto import Keyring, session_key
from bff.errors import Problem, StoreUnavailableError
from bff.observe.metrics import Metrics
from bff.policy.csrf import Guard
from bff.policy.forward_auth_request import Asking
from bff.policy.header_rules import HeaderRules
from bff.policy.public_origin import PublicOrigin
from bff.policy.request_limits import RequestLimits
from bff.policy.routes import RouteTable
from bff.proxy.forward.asgi_app import ForwardingApp
from bff.proxy.forward.destination import Destination
from bff.proxy.forward.fast_path import FastPath
from bff.proxy.forward.forward_auth import ForwardAuth
from bff.proxy.forward.forwarding_context import ForwardingContext
from bff.proxy.server.header_line_cache import LineCache
from bff.refresh import Deferred, Outcome, Over, Rotated
from bff.request_ids import RequestIdMaker
from bff.session.batches import Told
from bff.session.hash_read import Loaded, LoadedValues
from bff.session.model import EndReason, Session, Tokens
from bff.session.near_cache import NearCache
from bff.session.record import Record, encode_record, values_of
from bff.session.session_cookie import SessionCookie
from bff.session.sessions import Found, Sessions
from bff.session.use_writes import Use, Written
from bff.settings.model import RefreshSettings, RouteSettings, ServerSettings, SessionSettings
from bff.tasks import Tasks
from bff.upstream.connection import UpstreamConnection
from bff.upstream.connector import UpstreamFaultError
from bff.upstream.interfaces import Fault, FaultKind
from bff.upstream.pool import PoolLimits, UpstreamPool
from tests.tools.soak.hand_loop import HandLoop, Wire
from tests.tools.soak.path_reading import content

PUBLIC = "http://app.example.com"
ENDED = 1 << 20
"""The version of a session that is no more."""

_EPOCH = 1_000_000.0
_KEYRING = Keyring(["A" * 43])
_METRICS = Metrics()
HANDLES = {name: _KEYRING.new_handle() for name in ("a", "b")}
_KEYS = {name: session_key(handle) for name, handle in HANDLES.items()}
_ROUTES = RouteTable.from_settings(
    [
        RouteSettings(path="/api", upstream="http://backend", strip_prefix=False),
        RouteSettings(path="/open", upstream="http://backend", strip_prefix=False, auth="none"),
        RouteSettings(path="/may", upstream="http://backend", strip_prefix=False, auth="optional"),
    ]
)
_RULES = {
    route.path: HeaderRules.compiled(route.settings, PublicOrigin.parse(PUBLIC), b"x-csrf")
    for route in _ROUTES.routes
}
_GUARD = Guard(PublicOrigin.parse(PUBLIC).origin, b"x-csrf")


@functools.lru_cache(1024)
def _session(name: str, version: int) -> tuple[Session, Record]:
    """Makes a session whose access token names it and its version."""
    session = Session(
        key=_KEYS[name], version=version, provider="main", sub=name, sid=None, name=name, created=_EPOCH,
        seen=_EPOCH, ends=_EPOCH + 1e6, tokens=Tokens(f"{name}-{version}", _EPOCH - 100, None, "refresh"),
        claims={},
    )  # fmt: skip
    return session, encode_record(session, HANDLES[name], _KEYRING)


class Store:
    """The records, each read a turn away; and the feed of what changes in them."""

    trusted = True

    def __init__(self) -> None:
        self.versions = {"a": 1, "b": 1}
        self.reachable = True
        self.cache: NearCache | None = None
        self._records: dict[str, Record] = {}
        for name in self.versions:
            self.change(name, 1)

    def change(self, name: str, version: int) -> None:
        """A session is rotated, or ended."""
        self.versions[name] = version
        self._records.pop(_KEYS[name], None)
        if version < ENDED:
            self._records[_KEYS[name]] = _session(name, version)[1]
        if self.cache is not None:
            self.cache.changed(_KEYS[name])

    def rotate(self, name: str) -> None:
        if self.versions[name] < ENDED:
            self.change(name, self.versions[name] + 1)

    @property
    def trusted_until(self) -> float:
        return math.inf if self.trusted else -math.inf

    current_until = -math.inf

    def catch_up(self, _: float) -> bool:
        return self.trusted

    def distrust(self) -> None:
        """The feed is lost, or back."""
        self.trusted = not self.trusted
        if self.cache is not None:
            self.cache.changed(None)

    async def load_noted(self, key: str, **_: bool) -> Loaded | None:
        record = self._records.get(key)
        await asyncio.sleep(0)
        if not self.reachable:
            raise StoreUnavailableError("down")
        return None if record is None else Loaded(record, 1800.0)

    async def load(self, key: str) -> Record | None:
        loaded = await self.load_noted(key)
        return None if loaded is None else loaded.fields

    def ask(self, key: str, then: Told[LoadedValues], **_: bool) -> None:
        loaded = LoadedValues(values_of(self._records.get(key, {})), None, None)
        asyncio.get_running_loop().call_soon(
            then, loaded if self.reachable else StoreUnavailableError("down")
        )

    @property
    def endings(self) -> "Store":
        return self

    async def why(self, _: str) -> EndReason | None:
        return EndReason.LOGOUT

    @property
    def uses(self) -> "Store":
        return self

    def write(self, use: Use, then: Written, *, at_once: bool = False) -> None:
        """A use is noted, and told of a turn away."""
        del at_once  # none waits for others
        record = self._records.get(use.key)
        if record is not None and self.reachable:
            self._records[use.key] = {**record, "seen": use.seen.decode()}
        known = record is not None if self.reachable else StoreUnavailableError("down")
        asyncio.get_running_loop().call_soon(then, known)


class RefreshCoordinator:
    """Rotates, or does not, as told."""

    def __init__(self, store: Store) -> None:
        self.mode = 0
        self._store = store

    async def rotate(self, found: Found, _: str) -> Outcome:
        await asyncio.sleep(0)
        name = found.session.sub
        if self.mode == 1:
            return Deferred(Problem.PROVIDER_UNAVAILABLE)
        if self.mode == 2 or self._store.versions[name] == ENDED:
            self._store.change(name, ENDED)
            return Over(Problem.SESSION_ENDED, EndReason.INVALID_GRANT)
        self._store.rotate(name)
        return Rotated(Found(found.handle, _session(name, self._store.versions[name])[0]))


@dataclass(eq=False)
class Call:
    """A request as a backend got it.

    Attributes:
        at: how much each client had got by then.
        whole: the request is.
        status, answer: what it says to it.
        sound: that is whole and clean.
        first: on its connection.
    """

    peer: bytes
    method: bytes
    target: bytes
    token: bytes | None
    at: list[int]
    body: bytes = b""
    whole: bool = False
    status: int = 0
    answer: bytes = b""
    sound: bool = False
    first: bool = False


class BackendWire(Wire):
    """A connection to a backend, at its backend's end."""

    def __init__(self, world: "World") -> None:
        super().__init__(world.loop, peer="")
        self.world = world
        self.call: Call | None = None
        self.pending: list[bytes | None] = []
        self.answering = False
        self._unread = b""
        self._fields: dict[bytes, bytes] = {}

    @property
    def waits(self) -> bool:
        """True if a request here has got no answer yet."""
        return self.call is not None and not self.answering and not self.over

    def write(self, data: bytes | bytearray | memoryview) -> None:
        before = len(self.written)
        super().write(data)
        self._unread += bytes(self.written[before:])
        if self._unread and (self.call is None or (self.call.whole and self.answering and not self.pending)):
            self._begin()
        if (call := self.call) is not None and not call.whole:
            call.body, used, call.whole = content(self._fields, self._unread)
            self._unread = self._unread[used:] if call.whole else self._unread
        assert self.call is None or not self.call.whole or not self._unread, "more than one request at once"

    def _begin(self) -> None:
        head, end, self._unread = self._unread.partition(b"\r\n\r\n")
        assert end, "half a head"
        first, *lines = head.split(b"\r\n")
        method, target, _ = first.split(b" ")
        pairs = [(name.lower(), value) for name, value in (line.split(b": ", 1) for line in lines)]
        self._fields = dict(pairs)
        assert len(pairs) == len(self._fields), pairs
        token = self._fields.get(b"authorization")
        assert b"cookie" not in self._fields
        self.call = Call(
            peer=self._fields[b"x-forwarded-for"],
            method=method,
            target=target,
            token=None if token is None else token.removeprefix(b"Bearer "),
            at=[len(client.written) for client in self.world.clients],
            first=self.call is None,
        )
        self.answering = False
        self.world.calls.append(self.call)


class World:
    """Everything behind the client connections of one run."""

    def __init__(self, loop: HandLoop, *, cached: bool, connections: int) -> None:
        self.loop = loop
        self.began = loop.time()
        self.clients: list[Wire] = []
        self.wires: list[BackendWire] = []
        self.calls: list[Call] = []
        self.dialing = 0
        self.tasks = Tasks()
        self.store = Store()
        settings = SessionSettings()
        if cached:
            self.store.cache = NearCache(
                memory=1024**2, feed=self.store, counts=_METRICS.near_cache, clock=self.clock
            )
        sessions = Sessions(
            store=self.store,  # type: ignore[arg-type] # what finding a session takes
            keyring=_KEYRING, settings=settings, metrics=_METRICS, clock=self.clock,
            cookie=SessionCookie.configured(ServerSettings(public_url=PUBLIC), settings),
            cache=self.store.cache,
        )  # fmt: skip
        self.refresher = RefreshCoordinator(self.store)
        credentials = Credentials(
            sessions=sessions,
            refresher=self.refresher,  # type: ignore[arg-type] # what a 401 takes
            clock=self.clock,
            refresh_settings=RefreshSettings(),
        )  # fmt: skip
        self.pool = UpstreamPool(_ROUTES.routes[0].upstream, PoolLimits(max_connections=connections))
        self.pool.dialer = self  # type: ignore[assignment] # its `dial` is all that is asked for
        parts = ForwardingContext(
            {
                route.path: Destination(
                    self.pool, _RULES[route.path],
                    CredentialChoice(credentials, required=route.settings.requires_session()),
                    IdentityFields(_RULES[route.path]),
                )
                for route in _ROUTES.routes
            },
            RequestIdMaker(()), self.tasks, _METRICS, loop.time, access_log=False,
        )  # fmt: skip
        (any_rules, *_) = _RULES.values()
        self.lines = LineCache(
            limits=RequestLimits.configured(ServerSettings(public_url=PUBLIC)),
            csrf_header=b"x-csrf",
            passes=any_rules.passes_on,
        )
        self.forwarding = ForwardingApp(
            context=parts,
            fast_path=FastPath(context=parts, routes=_ROUTES, guard=_GUARD),
            routes=_ROUTES,
            guard=_GUARD,
            forward_auth=ForwardAuth(Asking.compiled(PublicOrigin.parse(PUBLIC), _ROUTES, _GUARD), ()),
            websockets=otherwise,
            otherwise=otherwise,
        )

    def clock(self) -> float:
        return _EPOCH + self.loop.time() - self.began

    async def dial(self, make: Any, deadline: float) -> UpstreamConnection:
        """Connects, does not, or takes too long."""
        await asyncio.sleep(0)
        if self.dialing == 1:
            raise UpstreamFaultError(Fault(FaultKind.UNREACHABLE, "connect"))
        if self.dialing == 2:
            await asyncio.sleep(deadline - self.loop.time())
            raise UpstreamFaultError(Fault(FaultKind.TIMEOUT, "connect"))
        wire = BackendWire(self)
        connection: UpstreamConnection = make()
        wire.protocol = connection
        connection.connection_made(wire)
        self.wires.append(wire)
        return connection


async def otherwise(scope: Any, _: Any, send: Any) -> None:
    """The application behind the proxy."""
    target = scope["raw_path"]
    headers = [(b"x-own", b"1"), (b"content-length", str(len(target)).encode())]
    await send({"type": "http.response.start", "status": 404, "headers": headers})
    await send({"type": "http.response.body", "body": target})
