"""The data path under fuzzing: clients, sessions and backends that do anything, in any order.

Input: a byte of options, one for the cuts, then steps of two bytes each: what happens, and how (`Run`).
Bit 7 of a step's first byte: the next one happens in the same turn of the loop.

What holds in any case: requests reach the backend in order, once, with the token of the session whose cookie
they carry; a client gets well-formed answers, each to its own request, and nothing broken ends cleanly; at
the end nothing is left. And where no two things happen in one turn: the same comes of it however the bytes
are cut, and over ASGI.
"""

import functools
import re
from typing import Any, NamedTuple

import uvicorn

from bff.settings.model import ServerSettings
from tests.support.error_log import no_error_logged
from tests.tools.soak import path_run
from tests.tools.soak.hand_loop import HandLoop
from tests.tools.soak.path_reading import Answered, Asked, answered, asked
from tests.tools.soak.path_run import Client, Run
from tests.tools.soak.path_world import HANDLES, PUBLIC, Call, World

_MOST_ATTEMPTS = 3  # a stale connection and a 401 allow for one more each
_PROBLEMS = frozenset({400, 401, 403, 404, 405, 408, 413, 417, 421, 431, 502, 503, 504})
_RUSHED = 128
_CUTS_ANSWERS = 3  # the option
_ASKS, _ANSWERS, _LEAVES = {0, 1, 4}, {7, 8, 9}, 11  # kinds of steps
_BREAKS, _WAITS, _DIALS = 12, 13, 15
_BODIES = {5, 6, 7}
_SAYS_408 = 13
_SLOWS = 2  # of a client's events
_NUMBER = re.compile(rb"\A[0-9]+ (?=/)")  # of a call, in its backend's answer


class Outcome(NamedTuple):
    """The result of a run.

    Attributes:
        answers: those that each client got.
        calls: those that the backends got, in their order.
        raced: calls of several clients may have been free to go in the same turn.
        held: a slow client's answer held its connection while there were other calls or connections.
    """

    answers: list[list[tuple[int, bytes]]]
    calls: list[tuple[bytes, bytes, bytes | None, bytes | None]]
    raced: bool
    held: bool

    def unordered(self) -> "Outcome":
        """Returns the outcome without the order of the calls, by which their answers are numbered."""
        answers = [[(status, _NUMBER.sub(b"", body)) for status, body in got] for got in self.answers]
        calls = sorted(self.calls, key=lambda call: (*call[:2], call[2] or b""))
        return self._replace(answers=answers, calls=calls)


class Bench:
    """The parts that all runs share: no run may change them."""

    world: World

    def __init__(self) -> None:
        self.loop = HandLoop()  # type: ignore[abstract] # the rest is about files, threads and processes
        self.settings = ServerSettings(public_url=PUBLIC)
        self.config = uvicorn.Config(
            self._app, interface="asgi3", lifespan="off", ws="none", log_config=None, access_log=False,
            proxy_headers=False,
        )  # fmt: skip
        self.config.load()

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        await self.world.forwarding(scope, receive, send)

    def run(self, data: bytes, front: str = "server", **cuts: int) -> Outcome:
        """One run and its outcome."""
        with self.loop.running(), no_error_logged():
            run = Run(self, data, front, **cuts)
            run.play()
            outcome = judged(run)
        assert not self.loop.errors, self.loop.errors
        return outcome


@functools.cache
def bench() -> Bench:
    """One bench serves all inputs."""
    return Bench()


def judged(run: Run) -> Outcome:
    """Checks what the clients and the backends got against what was sent."""
    got: list[tuple[Client, tuple[Asked, ...], list[Answered]]] = []
    for client in run.clients:
        requests = asked(bytes(client.sent))
        wire = client.wire
        ended = wire.over and not wire.aborted
        got.append((client, requests, answered(bytes(wire.written), requests, ended=ended)))
    calls = run.world.calls
    possible = [origins(call, got) for call in calls]
    for call, origin in zip(calls, possible, strict=True):
        assert origin, f"nobody asked for {call}"
    sure = [(origin[0], call) for origin, call in zip(possible, calls, strict=True) if len(origin) == 1]
    check_attempts(sure)
    seen: set[int] = set()
    for at, (_, requests, answers) in enumerate(got):
        assert len(answers) <= len(requests) + 1, "more answers than requests"
        for number, answer in enumerate(answers):
            if b"x-serial" in answer.fields:
                serial = int(answer.fields[b"x-serial"])
                assert serial not in seen, "one answer for two"
                seen.add(serial)
                assert (at, number) in possible[serial], "somebody else's answer"
                check_passed(answer, calls[serial])
            else:
                check_own(answer, requests[number] if number < len(requests) else None)
    return Outcome(
        [[(one.status, one.body) for one in answers if one.end is not None] for _, _, answers in got],
        [(call.method, call.target, call.token, call.body if call.whole else None) for call in calls],
        raced=run.passed_over,
        held=run.held,
    )


def origins(call: Call, got: list[tuple[Client, tuple[Asked, ...], list[Answered]]]) -> list[tuple[int, int]]:
    """The requests that this can be, by client and number: a client has one under way at a time."""
    found = []
    for at, (client, requests, answers) in enumerate(got[: len(call.at)]):
        number = sum(one.end is not None and one.end <= call.at[at] for one in answers)
        peer = client.wire.get_extra_info("peername")[0].encode()
        if number < len(requests) and call.peer == peer and is_of(call, requests[number], client):
            found.append((at, number))
    return found


def is_of(call: Call, request: Asked, client: Client) -> bool:
    """Returns true if the backend got this very request, with the token that goes with it."""
    if (call.method, call.target) != (request.method, request.target):
        return False
    if not request.body.startswith(call.body) or (call.whole and call.body != request.body):
        return False
    path = request.target.partition(b"?")[0]
    if call.token is None:
        return not path.startswith(b"/api")
    name, _, version = call.token.decode().partition("-")
    floor = next(versions for length, versions in client.floors if length >= request.end)[name]
    return (
        not path.startswith(b"/open") and request.handle == HANDLES[name].encode() and floor <= int(version)
    )


def check_attempts(sent: list[tuple[tuple[int, int], Call]]) -> None:
    """Again only after a 401, and where a kept connection ended, or timed out, without an answer."""
    former: dict[tuple[int, int], list[Call]] = {}
    for origin, call in sent:
        before = former.setdefault(origin, [])
        assert len(before) < _MOST_ATTEMPTS, "sent too often"
        if before:
            last = before[-1]
            stale = not last.first and last.method != b"POST" and last.status in {0, 408}
            assert last.status == 401 or stale, f"sent again: {last}"
        before.append(call)


def check_passed(answer: Answered, call: Call) -> None:
    """A backend's answer, unchanged; only a whole one ends."""
    assert answer.status == call.status
    assert call.answer.startswith(answer.body)
    if answer.end is not None:
        assert answer.body == call.answer, "a broken answer ends cleanly"


def check_own(answer: Answered, request: Asked | None) -> None:
    """An answer of ours: the application's behind the proxy, or a problem that may come about here."""
    if b"x-own" in answer.fields:
        assert request is not None
        assert answer.body in {request.target.partition(b"?")[0], b""}
        return
    assert answer.status in _PROBLEMS, answer
    assert answer.fields[b"content-type"] == b"application/problem+json"
    assert answer.end is not None


def comparable(steps: list[tuple[int, int]], *, answers_cut: bool) -> bool:
    """True if there is one outcome, however the bytes are cut and whichever the front.

    Which of two things in one turn is first may differ; so may when an end is heard, if nobody reads just
    then: over ASGI that is so while a body is not wanted. A body that comes in pieces is announced, which
    takes its time, and what is answered before it is whole costs the connection; so does half a 401. What has
    been read for a slow client before its backend breaks differs: over ASGI there is a buffer between. That
    buffer also frees the connection earlier, for another call: only a run shows where (`Outcome.held`).
    """
    kinds = [what & 15 for what, _ in steps]
    bodies = path_run.RAW in kinds or any(how >> 5 in _BODIES and what & 15 in _ASKS for what, how in steps)
    tires = any(what & 15 in _ANSWERS and how & 15 == _SAYS_408 for what, how in steps)  # if it was kept
    return not (
        _DIALS in kinds  # two waits may end at the same moment
        or any(what & _RUSHED or (what & 15 == _LEAVES and how & 7 == 0) for what, how in steps)
        or (_BREAKS in kinds and slows(steps))
        or ((bodies or answers_cut) and (tires or not {_LEAVES, _BREAKS, _WAITS}.isdisjoint(kinds)))
    )


def slows(steps: list[tuple[int, int]]) -> bool:
    """Returns True if a client reads slowly."""
    return any(what & 15 == _LEAVES and how & 7 == _SLOWS for what, how in steps)


def check(data: bytes) -> None:
    """Raises AssertionError where a promise is broken, and whatever the product raises."""
    if len(data) < 4:
        return
    table = bench()
    whole = table.run(data)
    steps = [(what, how) for what, how, _ in path_run.steps(data)]
    if not comparable(steps, answers_cut=data[0] & 3 == _CUTS_ANSWERS):
        return
    match data[0] & 3:
        case 0:
            return
        case 1:
            other = table.run(data, cut=1 + data[1])
        case path_run.WITH_ASGI:
            other = table.run(data, "asgi")
            unread = data[0] & path_run.CUT_SHORT and slows(steps)  # in the buffer yet
            if whole.held or unread:
                return
        case _:  # _CUTS_ANSWERS
            other = table.run(data, cut_answers=1 + data[1])
    if whole.raced or other.raced:
        # The answer that frees a connection for one client lets another client's next request begin.
        whole, other = whole.unordered(), other.unordered()
    assert whole.answers == other.answers, (whole, other)
    for one, another in zip(whole.calls, other.calls, strict=True):
        assert one[:3] == another[:3], (whole, other)
        assert one[3] == another[3] or None in {one[3], another[3]}, (whole, other)
