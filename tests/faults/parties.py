"""What the walk knows of a person's session, and which answers contradict that."""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.support.processes.fleet import Answered, Member


@dataclass
class Signed:
    """One session, from its sign-in to what comes after its end. Times are of the monotonic clock."""

    member: Member
    leaving_at: float | None = None  # when an ending of it was begun
    over_at: float | None = None  # when it was over for sure
    refused_at: float | None = None  # when it was first answered 401

    @property
    def surely_in(self) -> bool:
        return self.leaving_at is None

    def left(self, *, sure: bool) -> None:
        """The ending that was begun is done; `sure`: it was confirmed."""
        if sure:
            self.over_at = time.monotonic()

    def contradicted_by(self, answer: Answered, began: float, ended: float, lease: float) -> str | None:
        """What is wrong with the answer to a call that ran from `began` to `ended`, if anything is."""
        if answer.status == 401:
            if self.refused_at is None:
                self.refused_at = ended
            if self.leaving_at is None or ended < self.leaving_at:
                return f"401 {answer.code} {answer.reason} though signed in"
        if answer.status == 200:
            if self.over_at is not None and began > self.over_at + lease:
                return f"200, {began - self.over_at:.2f} s after the end"
            if self.refused_at is not None and began > self.refused_at + lease:
                return f"200, {began - self.refused_at:.2f} s after a 401"
        return None


@dataclass
class Person:
    """Somebody with one browser: the session that they are in, and some that they were in."""

    name: str
    now: Signed | None = None
    past: deque[Signed] = field(default_factory=lambda: deque(maxlen=2))

    def tries(self) -> Iterator[Signed]:
        """The sessions that a call of theirs tries: the present one, and the last that is over."""
        if self.now is not None:
            yield self.now
        elif self.past:
            yield self.past[-1]

    def signed_in(self, member: Member) -> None:
        self.now = Signed(member)

    def leaves(self) -> Signed:
        """The session that is about to end, by whatever it does."""
        assert self.now is not None
        leaving, self.now = self.now, None
        leaving.leaving_at = time.monotonic()
        self.past.append(leaving)
        return leaving
