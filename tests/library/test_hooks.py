"""The contract of the hooks: what they are asked and told, and what becomes of their errors."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from bff.hooks import Call, EndTeller, HookFailedError, Hooks, NotAllowed, SessionEnd, SignIn
from bff.library import BFF
from bff.proxy.forward.credential_after_wait import A_WHILE
from bff.settings.model import Settings
from bff.tasks import Tasks
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import World, running_world
from tests.support.wait import until

SIGN_IN = SignIn("alice", "main", {"email": "alice@example.com"}, "127.0.0.1", "browser", "/")
CALL = Call("GET", "/api/orders", "/api", "alice", "0123456789ab")
_OTHERS = "Authorization Cookie Host Content-Length X-Forwarded-For Accept Sec-Fetch-Site Traceparent"
END = SessionEnd("0123456789ab", "alice", "logout")
SECRET = "8c1f9f0b4e6d4d2ab0f1f5f6c7a3e9d2"
QUESTION = {
    "BFF-Forward-Auth": SECRET,
    "X-Forwarded-Method": "GET",
    "X-Forwarded-Uri": "/api/orders",
}


class Later:
    """A hook that is an object with an asynchronous `__call__`."""

    async def __call__(self, _: SignIn) -> None:
        raise NotAllowed("later")


async def _refuses(_: SignIn) -> None:
    raise NotAllowed("trial_over")


def _refuses_in_a_thread(_: SignIn) -> None:
    raise NotAllowed("trial_over")


def _fails(_: object) -> None:
    raise KeyError("tenant")


def _is_cancelled() -> None:
    raise asyncio.CancelledError


async def _waits_for_what_is_cancelled(_: object) -> None:
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    gone.cancel()
    await gone


@pytest.mark.parametrize(
    ("hook", "code"),
    [
        (None, None),
        (lambda _: None, None),
        (_refuses, "trial_over"),
        (_refuses_in_a_thread, "trial_over"),
        (partial(_refuses), "trial_over"),
        (Later(), "later"),
        (_fails, "login_failed"),
        (lambda _: _is_cancelled(), "login_failed"),
        (_waits_for_what_is_cancelled, "login_failed"),
    ],
)
async def test_a_sign_in_needs_a_yes(hook: Any, code: str | None) -> None:
    """A refusal has its own code, a failure ours; functions, coroutines and objects are called alike."""
    assert code == await Hooks(on_sign_in=hook).refusal_of(SIGN_IN)


async def test_no_answer_in_time_is_a_no() -> None:
    """A hook that waits for ever holds a sign-in or a call up for its timeout, and no longer."""

    async def silent(_: object) -> None:
        await asyncio.Event().wait()

    hooks = Hooks(on_sign_in=silent, before_forward=silent, timeout=0.01)
    assert "login_failed" == await hooks.refusal_of(SIGN_IN)
    with pytest.raises(HookFailedError):
        await hooks.fields_for(CALL)


async def test_a_cancelled_call_cancels_its_hook() -> None:
    """A client that leaves ends the hook's wait; that is no failure of the hook."""
    begun, over = asyncio.Event(), asyncio.Event()

    async def waits(_: object) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            over.set()

    tasks = Tasks()
    call = tasks.spawn(Hooks(before_forward=waits).fields_for(CALL), name="call")
    await begun.wait()
    call.cancel()
    await over.wait()


@pytest.mark.parametrize(
    ("answer", "fields"),
    [
        (None, []),
        ({}, []),
        ({"X-Tenant": "a b"}, [(b"x-tenant", b"a b")]),
        ({"x_tenant": "7"}, [(b"x_tenant", b"7")]),
    ],
)
async def test_fields_for_a_call(answer: Any, fields: list[tuple[bytes, bytes]]) -> None:
    """The announced fields go with the call."""
    assert fields == await Hooks(before_forward=lambda _: answer, fields=["X-Tenant"]).fields_for(CALL)


@pytest.mark.parametrize(
    "answer",
    [
        {"X-Other": "7"},
        {"X-Tenant": "7\r\nX-Admin: 1"},
        {"X-Tenant": ""},
        {"X-Tenant": " 7"},
        {"X-Tenant": "ä"},
        {"X-Tenant": 7},
        "X-Tenant: 7",
    ],
)
async def test_an_unusable_answer_is_a_failure(answer: Any) -> None:
    """A field that was not announced, a value that would end the line, no mapping: nothing is sent."""
    with pytest.raises(HookFailedError):
        await Hooks(before_forward=lambda _: answer, fields=["X-Tenant"]).fields_for(CALL)


@pytest.mark.parametrize("name", [*_OTHERS.split(), "a b", ""])
def test_fields_that_no_hook_sets(name: str) -> None:
    """What the connection, the proxy or the browser writes is refused at once, by name."""
    with pytest.raises(ValueError, match="no field that a hook can set"):
        Hooks(before_forward=lambda _: None, fields=[name])


def test_fields_need_their_hook() -> None:
    """Fields without `before_forward` are a mistake."""
    with pytest.raises(ValueError, match="there is none"):
        Hooks(fields=["X-Tenant"])


@pytest.mark.parametrize("reason", ["", "two words", "a" * 65, "a\n"])
def test_a_reason_is_a_code(reason: str) -> None:
    """A reason goes into an address and a document: nothing else fits."""
    with pytest.raises(ValueError, match="a reason is a code"):
        NotAllowed(reason)


async def test_endings_are_told_in_turn() -> None:
    """A slow listener holds up nothing; all endings are told, a failing one stops none."""
    told: list[str] = []
    tasks = Tasks()

    def listen(end: SessionEnd) -> None:
        told.append(end.session)
        if end.session == "3":
            raise RuntimeError("a mistake of the host")

    teller = EndTeller(Hooks(on_end=listen), tasks)
    for number in range(20):
        teller.ended(str(number), "alice", "idle")
    assert [] == await tasks.drain(60)
    assert {str(number) for number in range(20)} == set(told)


async def test_a_sync_hook_does_not_hold_up_the_loop() -> None:
    """A function that waits runs in a thread, while the loop goes on."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def waits(_: object) -> None:
        before = turns
        while turns < before + 10:
            time.sleep(0.001)

    tasks = Tasks()
    tasks.spawn(count(), name="count")
    assert None is await Hooks(on_sign_in=waits).refusal_of(SIGN_IN)
    await tasks.cancel_all()


async def test_listeners_that_hang_hold_up_nobody_who_is_asked() -> None:
    """Threads of hooks are their own: neither `on_end` nor a sign-in takes those of another, or of names."""
    go_on, hanging = threading.Event(), threading.Semaphore(0)

    def hangs(_: object) -> None:
        hanging.release()
        go_on.wait(60)

    tasks = Tasks()
    hooks = Hooks(on_sign_in=lambda _: None, on_end=hangs, before_forward=lambda _: None, timeout=60)
    teller = EndTeller(hooks, tasks)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    try:
        for number in range(20):
            teller.ended(str(number), "alice", "idle")
        await until(lambda: hanging.acquire(blocking=False))
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            assert None is await hooks.refusal_of(SIGN_IN)
            assert [] == await hooks.fields_for(CALL)
            assert await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80)
    finally:
        go_on.set()
        assert [] == await tasks.drain(60)


async def test_the_hooks_of_a_running_proxy(redis_server: RedisServer) -> None:
    """A refused sign-in leaves no session and no token; an end is told with its reason."""
    ends: list[SessionEnd] = []
    asked: list[SignIn] = []
    answer: list[Callable[[], Any]] = [lambda: None]

    def hooked(event: Any) -> Any:
        if isinstance(event, SignIn):
            asked.append(event)
        return answer[0]()

    def refuse() -> None:
        raise NotAllowed("trial_over")

    def host(settings: Settings, _: str) -> BFF:
        return BFF(settings, on_sign_in=hooked, on_end=ends.append, before_forward=hooked, fields=["X-A"])

    async with running_world(redis_server, host=host, forward_auth={"secrets": [SECRET]}) as world:
        browser = await world.browser()
        for act, code in ((refuse, "trial_over"), (lambda: 1 // 0, "login_failed")):
            answer[0] = act
            page = await browser.sign_in()
            assert f"bff_error={code}" in str(page.url)
            assert browser.handle is None
        revoked = [path for _, path, _ in world.issuer.seen.requests if path.endswith("/revoke")]
        assert 2 == len(revoked)
        assert [] == await _sessions(world)
        answer[0] = lambda: None
        await browser.sign_in()
        assert ("alice", "Alice Liddell", "/") == (
            asked[-1].sub,
            asked[-1].claims["name"],
            asked[-1].return_to,
        )
        assert not any("token" in name for name in asked[-1].claims)
        assert 200 == (await browser.call("/api/orders")).status_code
        answer[0] = lambda: {"X-A": "7"}
        told = await browser.call("/bff/forward-auth", headers=QUESTION)
        assert (200, "7") == (told.status_code, told.headers["x-a"])
        own = await browser.call("/bff/forward-auth", headers={**QUESTION, "X_A": "8"})
        assert (400, "bad_request") == _problem(own)
        answer[0] = lambda: {"X-B": "not announced"}
        assert (500, "internal_error") == _problem(await browser.call("/api/orders"))
        answer[0] = _is_cancelled
        assert (500, "internal_error") == _problem(await browser.call("/api/orders"))
        answer[0] = refuse
        assert (403, "not_allowed") == _problem(await browser.call("/api/orders"))
        assert (403, "not_allowed") == _problem(await browser.call("/bff/forward-auth", headers=QUESTION))
        session = (await browser.user()).json()["session"]["id"]
        await browser.call("/bff/logout", "POST")
        await until(lambda: len(ends) == 1)
        assert [SessionEnd(session, "alice", "logout")] == ends


@pytest.mark.requirement("L-06")
async def test_a_slow_hook_outlives_no_session_and_no_token(redis_server: RedisServer) -> None:
    """After a hook that took a while the session and its token are found anew, on each way to a backend."""
    during: list[Callable[[], None]] = [lambda: None]

    def host(settings: Settings, _: str) -> BFF:
        def slow(_: Call) -> None:
            during[0]()
            time.sleep(2 * A_WHILE)  # in a thread: as long as the rule asks for

        return BFF(settings, before_forward=slow)

    async with running_world(redis_server, host=host, forward_auth={"secrets": [SECRET]}) as world:

        def delete() -> None:
            with world.redis.client() as redis:
                redis.delete(*redis.scan_iter("bff:session:*"))

        for way, headers in (("/api/orders", {}), ("/bff/forward-auth", QUESTION)):
            during[0] = lambda: None
            browser = await world.browser()
            await browser.sign_in()
            assert 200 == (await browser.call(way, headers=headers)).status_code
            during[0] = delete
            assert (401, "session_ended") == _problem(await browser.call(way, headers=headers))


def _problem(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def _sessions(world: World) -> list[str]:
    with world.redis.client() as redis:
        return list(redis.scan_iter("bff:session:*"))
