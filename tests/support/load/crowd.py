"""Many calls at once at several workers, over bare sockets: a client library takes longer than the proxy.

said = await crowd(fleet, member, 1000)
assert [] == await wrong_with(fleet, member, said)
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bff.session.rotation_lock import LEASE
from tests.support.processes.fleet import BROKEN, CSRF, HOST, Fleet, Member
from tests.support.wait import until

NAME = b"x-name"
"""The header that tells the backend whose call it is, and which."""


@dataclass(frozen=True, slots=True)
class Said:
    """The answer to one call. `status` is `BROKEN` where the connection broke."""

    status: int
    body: bytes
    sent: bytes
    seconds: float


async def ask(fleet: Fleet, member: Member, worker: int, *, body: bytes = b"", number: int = 0) -> Said:
    """One call on a connection of its own: a POST if it has a body."""
    fields = {"Host": HOST, **CSRF, "Cookie": f"bff={member.handle}", "Connection": "close"}
    fields |= {NAME.decode(): f"{member.key}-{number}", "Content-Length": str(len(body))}
    lines = [f"{'POST' if body else 'GET'} /api/orders HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items())]
    started = time.monotonic()
    answer = b""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", fleet.workers[worker].port)
        try:
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            answer = await reader.read(-1)
        finally:
            writer.close()
    except OSError:
        answer = b""
    head, _, content = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1]) if head else BROKEN
    return Said(status, content, body, time.monotonic() - started)


async def crowd(fleet: Fleet, member: Member, size: int, *, bodies: Sequence[int] = ()) -> list[Said]:
    """Calls of one session at once, at all workers in turn, with bodies of these lengths in turn."""
    pattern = random.Random(size).randbytes(max(bodies, default=0))  # noqa: S311 - any bytes will do
    workers = len(fleet.workers)
    calls = (
        ask(
            fleet,
            member,
            number % workers,
            body=pattern[: bodies[number % len(bodies)]] if bodies else b"",
            number=number,
        )
        for number in range(size)
    )
    return list(await asyncio.gather(*calls))


async def wrong_with(fleet: Fleet, member: Member, said: Sequence[Said]) -> list[str]:
    """The failures after a crowd whose session needed one rotation; empty: none."""
    wrong = []
    statuses = Counter(each.status for each in said)
    if statuses != {200: len(said)}:
        wrong.append(f"answers: {dict(statuses)}")
    mangled = sum(each.body != each.sent for each in said if each.sent and each.status == 200)
    if mangled:
        wrong.append(f"{mangled} bodies came back as others")
    fates = [use.fate for use in fleet.provider.uses_of(member.family)]
    if fates != ["rotated"]:
        wrong.append(f"token calls: {fates}")
    if fleet.provider.reused:
        wrong.append("the provider has reported a reuse")
    names = (b"".join(request.values(NAME)) for request in fleet.backend.requests)
    tries = Counter(name for name in names if name.startswith(member.key.encode()))
    most = max(tries.values(), default=0)
    if most > 2:
        wrong.append(f"a call was sent to the backend {most} times")
    record = fleet.record(member)
    if (record.get("version"), record.get("refreshing", "")) != ("2", ""):
        wrong.append(f"version {record.get('version')}, marker {record.get('refreshing')!r}")
    try:  # whoever followed was served before the lock was given up
        await until(lambda: not fleet.locks(), LEASE + 1)
    except TimeoutError:
        wrong.append(f"locked: {fleet.locks()}")
    return wrong
