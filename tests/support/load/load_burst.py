"""Many sessions whose access tokens end within the same short while, all in use, at several workers.

Half of them are in use all along, so that they are rotated ahead of their end; half come back after it, and
have to wait. The pages of some ask for two things at once, at two workers.
"""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.support.load.crowd import ask
from tests.support.processes.fleet import Fleet, Member

_AFTERWARDS = 2.0  # seconds for which sessions are used after the last token has ended
_BESIDE = 2  # of five sessions ask for two things at once
_AT_ONCE = 100  # sessions that are written at once before it begins
_EACH_WRITTEN = 0.002  # seconds for each of them


@dataclass
class LoadBurst:
    """The result of a burst. `seconds` is the slowest answer's time."""

    sessions: int
    limit: int  # of token calls at once
    answers: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0
    rotations: Counter[str] = field(default_factory=Counter)  # by what became of the sessions' tokens
    most_at_once: int = 0

    def wrong(self, within: float) -> list[str]:
        """The failures; empty: none."""
        wrong = []
        if set(self.answers) != {200}:
            wrong.append(f"answers: {dict(self.answers)}")
        if self.rotations != {"rotated": self.sessions}:
            wrong.append(f"sessions by what became of their tokens: {dict(self.rotations)}")
        if self.most_at_once > self.limit:
            wrong.append(f"{self.most_at_once} token calls at once")
        if self.seconds > within:
            wrong.append(f"an answer took {self.seconds:.1f} s")
        return wrong


async def storm(
    fleet: Fleet, sessions: int, *, window: float, each: float, limit: int, seed: int
) -> LoadBurst:
    """Runs one: tokens that end within `window` seconds, sessions in use every `each` seconds or so."""
    dice = random.Random(seed)  # noqa: S311 - to be repeated
    result = LoadBurst(sessions, limit)
    begins = time.monotonic() + 1 + _EACH_WRITTEN * sessions
    ends = [begins + dice.uniform(0, window) for _ in range(sessions)]
    members: list[Member] = []

    async def made(number: int, end: float) -> Member:
        """Makes a member whose token ends at that moment, however late this runs."""
        return await fleet.member(left=end - time.monotonic(), sub=f"user-{number}")

    for start in range(0, sessions, _AT_ONCE):
        some = ends[start : start + _AT_ONCE]
        members += await asyncio.gather(*(made(start + n, end) for n, end in enumerate(some)))
    await asyncio.sleep(max(0.0, begins - time.monotonic()))
    over = begins + window + _AFTERWARDS

    async def live(number: int, member: Member, end: float) -> None:
        first = begins if number % 2 else end
        moment = first + random.Random(f"{seed}/{number}").uniform(0, each)  # noqa: S311 - likewise
        while True:
            await asyncio.sleep(max(0.0, moment - time.monotonic()))
            workers = [(number + n) % len(fleet.workers) for n in range(2 if number % 5 < _BESIDE else 1)]
            said = await asyncio.gather(*(ask(fleet, member, worker) for worker in workers))
            for answer in said:
                result.answers[answer.status] += 1
                result.seconds = max(result.seconds, answer.seconds)
            if moment > over:
                return
            moment = max(moment + each, time.monotonic())

    await asyncio.gather(*(live(n, m, e) for n, (m, e) in enumerate(zip(members, ends, strict=True))))
    fates: dict[str, list[str]] = {member.family.sid: [] for member in members}
    for use in fleet.provider.uses:
        fates[use.family.sid].append(use.fate)
    result.rotations = Counter(" ".join(each) or "kept" for each in fates.values())
    result.most_at_once = fleet.provider.most_at_once
    return result
