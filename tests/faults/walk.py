"""A random walk: people who sign in, call and sign out, on workers that die, before servers that fail.

The seed decides the steps; what it cannot decide is who wins a race. Every answer is held against these
invariants, and so is what is left in Redis, at the provider, and in the processes:

    1. A refresh token is spent once. A second use within the provider's grace is counted, and needs a fault
       (a dead worker, a lost answer, a Redis that was gone) to excuse it; the provider never sees a reuse.
    2. Who has signed out, or was deleted, never gets 200 for a call that began later than the near cache's
       lease after it; and once refused, never again.
    3. Who is signed in never gets 401; except the backend's own, where a token is revoked while the tokens
       that follow it are on their way, and so are revoked with it: a call is repeated once, never twice.
    4. A lock has an end, never further away than its TTL, and in the end there is none.
    5. Nothing leaks: no key without a TTL, no task that a stop has to cancel, no descriptors, no waiters.
    6. When everything is well again, everybody who is signed in gets 200.
"""

import asyncio
import contextlib
import random
import re
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from bff.session.invalidation_feed import LEASE
from bff.session.rotation_lock import LEASE as LOCK_LEASE
from tests.faults.parties import Person, Signed
from tests.support.processes.fleet import BROKEN, Answered, Fleet
from tests.support.providers.behaviour import TROUBLES, Behaviour, refusal, slow
from tests.support.providers.token_ledger import Use
from tests.support.tasks import background

PEOPLE = 6
TOKENS_LAST = 3  # seconds
_RECOVERS = 40.0  # seconds in which everything is well again: the longest back-off, and some
_EXCUSES = 15.0  # seconds after which a fault is no excuse for a token that is sent again
_MOST_DESCRIPTORS = 200
_ON_THE_WAY = 1.0  # seconds that new tokens may take from the provider to every worker

Step = Callable[["Walk", int], Awaitable[None]]


@dataclass
class Walk:
    """One walk over a fleet; `go` goes it."""

    fleet: Fleet
    seed: int
    people: list[Person] = field(default_factory=lambda: [Person(f"person-{n}") for n in range(PEOPLE)])
    counts: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)  # invariants
    steps: deque[str] = field(default_factory=lambda: deque(maxlen=40))
    faults: list[tuple[float, str]] = field(default_factory=list)
    revoked_at: list[float] = field(default_factory=list)  # when backends were told to forget all tokens

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311 - a seeded walk can be repeated
        self.began = time.monotonic()

    def breach(self, what: str) -> None:
        since = time.monotonic() - self.began
        self.broken.append(f"{since:.2f} s: {what}")

    async def go(self, seconds: float, *, told: Callable[["Walk"], None] = lambda _: None) -> None:
        """Walks for so long, then heals everything and looks what is left."""
        until_then = time.monotonic() + seconds
        async with background(self._watch_locks()):
            while time.monotonic() < until_then and not self.broken:
                name = self.chance.choices(list(_STEPS), [weight for weight, _ in _STEPS.values()])[0]
                argument = self.chance.randrange(1 << 16)
                self.steps.append(f"{time.monotonic() - self.began:.2f} {name} {argument}")
                self.counts[name] += 1
                await _STEPS[name][1](self, argument)
                told(self)
            await self._recover()
        self._look_at_the_ledger()
        await self._look_for_leaks()

    # What people do

    async def crowd(self, argument: int) -> None:
        """Several people call at once, at any worker."""
        draw = random.Random(argument)  # noqa: S311 - a part of the seeded walk
        calls = [(draw.choice(self.people), draw.randrange(len(self.fleet.workers))) for _ in range(8)]
        await asyncio.gather(*(self.call(person, worker) for person, worker in calls))

    async def call(self, person: Person, worker: int, method: str = "GET", path: str = "/api/orders") -> None:
        tries = list(person.tries())
        for member in tries:
            began = time.monotonic()
            answer = await self.fleet.call(member.member, worker, method, path)
            self.counts[f"status {answer.status or 'broken'}"] += 1
            if answer.status == 401 and not answer.code and self._revoked_twice(member, began):
                self.counts["revoked with its successor"] += 1
            elif wrong := member.contradicted_by(answer, began, time.monotonic(), LEASE):
                uses = [(f"{use.at - self.began:.2f}", use.fate) for use in self._uses(member)[-4:]]
                self.breach(f"{person.name}, {path}: {wrong}; worker {worker}, rotations {uses}")
            if answer.status not in {200, 401, 503, BROKEN}:
                self.breach(f"{person.name}, {path}: {answer.status} {answer.code}")

    def _uses(self, member: Signed) -> list[Use]:
        return self.fleet.provider.uses_of(member.member.family)

    def _revoked_twice(self, member: Signed, began: float) -> bool:
        """Whether both tokens of a call were revoked: the one it began with, and the next."""
        ended = time.monotonic()
        return any(
            revoked - _ON_THE_WAY <= use.at <= revoked
            for revoked in self.revoked_at
            if began - _ON_THE_WAY <= revoked <= ended
            for use in self._uses(member)
        )

    async def rotate(self, argument: int) -> None:
        """POST /bff/refresh, from two tabs at once."""
        person, workers = self._who(argument), range(len(self.fleet.workers))
        await asyncio.gather(*(self.call(person, worker, "POST", "/bff/refresh") for worker in workers))

    async def sign_in(self, argument: int) -> None:
        person = self._who(argument)
        if person.now is None:
            workers = len(self.fleet.workers)
            signed = await self.fleet.sign_in(argument % workers, argument // 7 % workers, sub=person.name)
            if signed is not None:
                person.signed_in(signed)

    async def sign_out(self, argument: int) -> None:
        person = self._who(argument)
        if person.now is not None:
            leaving = person.leaves()
            said = await self.fleet.call(
                leaving.member, argument % len(self.fleet.workers), method="POST", path="/bff/logout"
            )
            leaving.left(sure=said.status == 200)

    async def delete(self, argument: int) -> None:
        """The operator's `redis-cli DEL`."""
        person = self._who(argument)
        if person.now is not None:
            leaving = person.leaves()
            with self.fleet.redis.client() as client:
                client.delete(f"bff:session:{leaving.member.key}")
            leaving.left(sure=True)

    def _who(self, argument: int) -> Person:
        return self.people[argument % len(self.people)]

    # What happens to them

    async def kill(self, argument: int) -> None:
        """Kill -9 in the middle of a crowd's calls, and a new worker in its place."""
        worker = self.fleet.workers[argument % len(self.fleet.workers)]
        async with background(self.crowd(argument)) as crowd:
            await asyncio.sleep(argument % 50 / 1000)
            worker.kill()
            self._fault("kill")
            await crowd
        worker.start()
        await worker.up()

    async def freeze(self, argument: int) -> None:
        """SIGSTOP for a second, with calls under way."""
        worker = self.fleet.workers[argument % len(self.fleet.workers)]
        async with background(self.crowd(argument)) as crowd:
            await asyncio.sleep(argument % 50 / 1000)
            worker.freeze()
            await asyncio.sleep(1)
            worker.thaw()
            self._fault("freeze")
            await crowd

    async def restart_redis(self, argument: int) -> None:
        """Redis saves everything, is gone for a moment, and comes back with it."""
        redis = self.fleet.redis
        async with background(self.crowd(argument)) as crowd:
            with redis.client() as client:
                client.client_pause(10_000, all=False)  # what is confirmed from now on would be lost
            await asyncio.to_thread(redis.stop)
            self._fault("Redis")
            await asyncio.sleep(argument % 700 / 1000)
            await asyncio.to_thread(redis.start)
            self._fault("Redis")
            await crowd

    async def outage(self, argument: int) -> None:
        """The provider is down, or says 500, with calls under way."""
        provider = self.fleet.provider
        async with background(self.crowd(argument)) as crowd:
            if argument % 2:
                provider.stop()
                await asyncio.sleep(0.5)
                provider.start()
            else:
                provider.usual = refusal(500)
                await asyncio.sleep(0.5)
                provider.usual = slow(0.01)
            self._fault("provider")
            await crowd

    async def lost_answer(self, argument: int) -> None:
        """The next tokens are spent, and the answers are lost or unusable."""
        names = ("reset after it rotated", "malformed JSON", "500 after it rotated", "answer cut short")
        trouble: Behaviour = TROUBLES[names[argument % len(names)]]
        self._fault("lost answer")
        self.fleet.provider.next(trouble)
        await self.rotate(argument)
        self._fault("lost answer")

    async def forget_tokens(self, argument: int) -> None:
        """Backends answer 401 to all tokens that there are."""
        self.fleet.provider.forget_access()
        self.revoked_at.append(time.monotonic())
        await self.crowd(argument)

    def _fault(self, name: str) -> None:
        self.faults.append((time.monotonic(), name))

    # What must hold

    async def _watch_locks(self) -> None:
        while True:
            await asyncio.sleep(0.25)
            with contextlib.suppress(Exception):  # Redis may be away
                for name, left in (await asyncio.to_thread(self.fleet.locks)).items():
                    if left == -1 or left > LOCK_LEASE * 1000:
                        self.breach(f"a lock without a near end: {name}, {left} ms")

    async def _recover(self) -> None:
        """Everybody who is signed in gets 200 from every worker, and no lock is left."""
        until_then = time.monotonic() + _RECOVERS
        for person in self.people:
            if person.now is None or not person.now.surely_in:
                continue
            for worker in range(len(self.fleet.workers)):
                answer = await self._good_answer(person, worker, until_then)
                if answer.status != 200:
                    self.breach(f"{person.name} is not served again: {answer}")
        for person in self.people:
            for worker in range(len(self.fleet.workers)):
                await self.call(person, worker)
        if not await self.fleet.unlocked(LOCK_LEASE + 5):
            self.breach(f"still locked: {self.fleet.locks()}")

    async def _good_answer(self, person: Person, worker: int, until_then: float) -> Answered:
        assert person.now is not None
        while True:
            answer = await self.fleet.call(person.now.member, worker)
            if answer.status in {200, 401} or time.monotonic() > until_then:
                return answer
            await asyncio.sleep(0.1)

    def _look_at_the_ledger(self) -> None:
        first: dict[str, float] = {}
        for use in self.fleet.provider.uses:
            self.counts[f"token {use.fate}"] += 1
            if use.fate == "reuse":
                self.breach(f"the provider saw a reuse, of {use.family.sub}")
            if use.fate == "rotated":
                first[use.token] = use.at
            if use.fate == "repeated":
                excuses = [
                    name for at, name in self.faults if first[use.token] - 2 <= at <= use.at + _EXCUSES
                ]
                if not excuses:
                    self.breach(
                        f"a token was spent twice within {use.at - first[use.token]:.2f} s, without a fault"
                    )
                else:
                    self.counts["token repeated, excused"] += 1

    async def _look_for_leaks(self) -> None:
        with self.fleet.redis.client() as client:
            for name in client.scan_iter(count=1000):
                if client.ttl(name) == -1:
                    self.breach(f"a key without a TTL: {name}")
            for kind in client.scan_iter("bff:lock:*"):
                self.breach(f"a lock is left: {kind}")
        for worker in self.fleet.workers:
            descriptors = worker.descriptors()
            self.counts[f"descriptors of worker {worker.number}"] = descriptors
            if descriptors > _MOST_DESCRIPTORS:
                self.breach(f"worker {worker.number} has {descriptors} descriptors")
            metrics = await self.fleet.metrics(worker.number)
            waiters = re.findall(r"^bff_refresh_waiters(?:\{.*\})? (\S+)$", metrics, re.MULTILINE)
            if [0.0] != [float(count) for count in waiters]:
                self.breach(f"worker {worker.number} counts waiters: {waiters}")
            worker.terminate()
            if code := await worker.ended():
                self.breach(f"worker {worker.number} ended with {code}")
            for event in ("unfinished", "task_failed", "stop_timed_out", "listener_failed"):
                for line in worker.lines(event):
                    self.breach(f"worker {worker.number} said {event}: {line}")
            for text in worker.log().splitlines():
                if '"exception"' in text:
                    self.breach(f"worker {worker.number} said {text[:600]}")


_STEPS: dict[str, tuple[int, Step]] = {
    "crowd": (40, Walk.crowd),
    "sign in": (20, Walk.sign_in),
    "rotate": (10, Walk.rotate),
    "sign out": (4, Walk.sign_out),
    "delete": (3, Walk.delete),
    "kill": (3, Walk.kill),
    "freeze": (1, Walk.freeze),
    "restart Redis": (2, Walk.restart_redis),
    "outage": (2, Walk.outage),
    "lost answer": (3, Walk.lost_answer),
    "forget tokens": (3, Walk.forget_tokens),
}
"""Each with its weight."""
