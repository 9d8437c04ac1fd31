"""Several processes' worth of rotation on one Redis, before a provider that fails when and as a test says.

Only the provider is made up: it rotates, knows its former tokens, and holds an answer until it is let go.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from prometheus_client.parser import text_string_to_metric_families

from bff.crypto import Keyring, new_secret
from bff.errors import ProviderUnavailableError
from bff.observe.metrics import Metrics
from bff.oidc.client import OidcClient
from bff.oidc.concurrency_limit import PrioritySemaphore
from bff.oidc.http import AnswerLateError, AnswerLostError, CallWithdrawnError, Sending
from bff.oidc.id_token import Claims, IdTokenRejectedError
from bff.oidc.token_errors import BusyError, GrantRefusedError, InvalidGrant, SignInRequired
from bff.oidc.token_response import TokenAnswer
from bff.refresh import Outcome, RefreshCoordinator
from bff.session.invalidation_feed import InvalidationFeed
from bff.session.rotation_policy import Cause
from bff.session.session_builder import Identity
from bff.session.session_cookie import SessionCookie
from bff.session.sessions import Found, NoSession, Sessions
from bff.session.store import SessionStore
from bff.settings.model import ProviderSettings, RefreshSettings, ServerSettings, SessionSettings
from bff.tasks import Tasks
from tests.session.sample import NOW, sample_tokens
from tests.support.processes.redis import RedisServer
from tests.support.settings import redis_settings
from tests.support.wait import until

ALICE = Identity(provider="main", sub="alice", sid="sid-1", name="Alice", claims={"sub": "alice"})
FAILURES = ("unreachable", "wait", "refused", "late", "failed", "lost", "lost after")


def failure(way: str) -> Exception:
    """What the client raises for a call that went this way."""
    match way:
        case "unreachable":
            return ProviderUnavailableError("the provider cannot be reached")
        case "wait":
            return BusyError("asks to wait", 7.0)
        case "refused":
            return GrantRefusedError("not this one", kind="400 access_denied")
        case "late":
            return AnswerLateError("no answer in time")
        case "failed":
            return AnswerLostError("trouble of its own", status=500)
    return AnswerLostError("no answer")  # "lost after": it was taken, and the provider has rotated


@dataclass
class Provider:
    """Who issues tokens: `r1`, `r2`, … for all sessions alike, each session its own family.

    Attributes:
        grace: the former token gets the present answer once more.
        sent: every refresh token that reached it, in order.
        revoked: every token that was revoked.
        rotates: whether fresh tokens come with another refresh token.
        id_token: what comes beside fresh tokens, with `claims` in it.
    """

    now: Callable[[], float]
    grace: bool = False
    rotates: bool = True
    id_token: str | None = None
    claims: dict[str, Any] = field(default_factory=dict)
    lifetime: float | None = 300
    sent: list[str] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)
    killed: bool = False
    at_once: int = 0
    most_at_once: int = 0
    _current: dict[str, int] = field(default_factory=dict)

    def take(self, token: str) -> TokenAnswer | InvalidGrant:
        """Rotates, unless the token was used before: then the family ends, if there is no grace."""
        family, _, number = token.partition("/r")
        current = self._current.setdefault(family, 1)
        if self.killed or int(number) not in ({current, current - 1} if self.grace else {current}):
            self.killed = True
            return InvalidGrant()
        self._current[family] = int(number) + 1
        expires = None if self.lifetime is None else self.now() + self.lifetime
        refresh_token = f"{family}/r{int(number) + 1}" if self.rotates else None
        return TokenAnswer(
            f"a{int(number) + 1}", self.now(), expires, refresh_token, None, self.id_token, None
        )


class Client:
    """One process' way to the provider, as far as a rotation uses it.

    Attributes:
        plan: how the next calls go, by `FAILURES`' names; then they succeed.
        may_connect, may_answer: gates before the first byte leaves, and before the answer arrives.
    """

    def __init__(self, provider: Provider, tickets: int) -> None:
        self.tickets = PrioritySemaphore(tickets)
        self.provider = provider
        self.settings = ProviderSettings(issuer="https://id.example.com", client_id="c")
        self.plan: list[str] = []
        self.may_connect, self.may_answer = asyncio.Event(), asyncio.Event()
        self.may_connect.set()
        self.may_answer.set()
        self.connecting = self.granted = 0

    def let_in(self, rule: dict[str, Any]) -> None:
        """Sets `provider.allow`."""
        values = {**self.settings.model_dump(exclude_unset=True), "allow": rule}
        self.settings = ProviderSettings.model_validate(values)

    async def refresh(
        self, token: str, *, sending: Sending, proof_key: str | None = None
    ) -> TokenAnswer | InvalidGrant | SignInRequired:
        assert proof_key is None
        provider = self.provider
        provider.at_once += 1
        provider.most_at_once = max(provider.most_at_once, provider.at_once)
        try:
            self.connecting += 1
            await self.may_connect.wait()
            way = self.plan.pop(0) if self.plan else "taken"
            if way == "unreachable":
                raise failure(way)
            if not sending.may_send():
                raise CallWithdrawnError
            provider.sent.append(token)
            sending.sent()
            answer = provider.take(token) if way in {"taken", "lost after"} else InvalidGrant()
            await self.may_answer.wait()
        finally:
            provider.at_once -= 1
        if way in FAILURES:
            raise failure(way)
        if way == "sign in":
            return SignInRequired()
        self.granted += isinstance(answer, TokenAnswer)
        return answer

    async def revoke(self, token: str, hint: str) -> bool:
        assert ("refresh_token" if "/r" in token else "access_token") == hint
        self.provider.revoked.append(token)
        return True

    async def validate_refreshed_id_token(self, id_token: str, *, sub: str, access_token: str) -> Claims:
        assert access_token
        if id_token == "hangs":
            await asyncio.Event().wait()
        if id_token != sub:
            raise IdTokenRejectedError("sub")
        return {"sub": sub, "fresh": True, **self.provider.claims}

    async def refreshed_claims(
        self, claims: Claims | None, *, sub: str, access_token: str, proof_key: str | None = None
    ) -> Claims | None:
        assert proof_key is None
        assert sub
        assert access_token
        return claims


class Process:
    """What one process has."""

    def __init__(self, harness: "RefreshHarness", *, feed: bool) -> None:
        self.metrics, self.tasks = Metrics(), Tasks()
        redis = redis_settings(harness.redis.url)
        self.store = SessionStore(redis, self.metrics)
        self.changes = (
            InvalidationFeed(redis, prefix=self.store.watched, notes=self.store.watched_notes)
            if feed
            else None
        )
        session = SessionSettings()
        self.sessions = Sessions(
            store=self.store,
            keyring=Keyring([harness.key]),
            cookie=SessionCookie.configured(ServerSettings(public_url="http://localhost"), session),
            settings=session,
            metrics=self.metrics,
            clock=harness.clock,
        )
        self.client = Client(harness.provider, harness.tickets)
        self.refresher = RefreshCoordinator(
            sessions=self.sessions,
            client=cast("OidcClient", self.client),
            tasks=self.tasks,
            settings=harness.settings,
            metrics=self.metrics,
            clock=harness.clock,
            feed=self.changes,
        )

    async def start(self) -> None:
        if self.changes is not None:
            await self.changes.start()
            await until(lambda: self.changes is not None and self.changes.trusted)

    async def aclose(self) -> None:
        self.client.may_connect.set()
        self.client.may_answer.set()
        await self.tasks.cancel_all()
        if self.changes is not None:
            await self.changes.aclose()
        await self.store.aclose()

    async def rotate(self, found: Found, cause: Cause = "expiry") -> Outcome:
        return await self.refresher.rotate(found, cause)

    async def standing(self, found: Found) -> Found | NoSession:
        """The session as it is in Redis now."""
        return await self.sessions.open(found.handle)

    def counted(self, name: str, **labels: str) -> float:
        """A metric's value."""
        body, _ = self.metrics.render()
        return sum(
            sample.value
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def incidents(self) -> dict[str, float]:
        """The incidents that were counted, by kind."""
        body, _ = self.metrics.render()
        return {
            sample.labels["kind"]: sample.value
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
            if sample.name == "bff_refresh_incidents_total" and sample.value
        }


class RefreshHarness:
    """Everything that a test needs."""

    def __init__(self, redis: RedisServer, settings: RefreshSettings, tickets: int) -> None:
        self.redis, self.settings, self.tickets = redis, settings, tickets
        self.key = new_secret()
        self.now = NOW
        self.provider = Provider(self.clock)
        self.processes: list[Process] = []
        self._families = 0

    def clock(self) -> float:
        return self.now

    async def signed_in(self) -> Found:
        """A session of alice's; its refresh token is the first of a family of its own."""
        self._families += 1
        tokens = sample_tokens(refresh_token=f"{self._families}/r1")
        return await self.processes[0].sessions.start(ALICE, tokens, user_agent="", address="")

    def marker(self, found: Found) -> str:
        """The marker in Redis, without its moment."""
        text = self.redis.cli("HGET", f"bff:session:{found.session.key}", "refreshing")
        return text.partition(" ")[2]

    def leave_marker(self, found: Found, text: str) -> None:
        """As a process that is no more would have."""
        self.redis.cli("HSET", f"bff:session:{found.session.key}", "refreshing", text)

    def locks(self) -> list[str]:
        """What is locked."""
        return self.redis.cli("--scan", "--pattern", "bff:lock:*").split()


@asynccontextmanager
async def running_harness(
    redis: RedisServer, *, processes: int = 1, tickets: int = 20, feed: bool = True, **settings: Any
) -> AsyncIterator[RefreshHarness]:
    """Starts the processes; `settings` are those of `[refresh]`."""
    harness = RefreshHarness(redis, RefreshSettings.model_validate({"timeout": 10, **settings}), tickets)
    harness.processes = [Process(harness, feed=feed) for _ in range(processes)]
    try:
        for process in harness.processes:
            await process.start()
        yield harness
    finally:
        for process in harness.processes:
            await process.aclose()
