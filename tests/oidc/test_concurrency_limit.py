"""How many token calls there are at once, and who is next."""

import asyncio

from bff.oidc.concurrency_limit import PrioritySemaphore, Ticket


class Office:
    """One slot, and people who say when they have it."""

    def __init__(self) -> None:
        self.tickets = PrioritySemaphore(1)
        self.served: list[str] = []

    async def visit(self, name: str, place: Ticket) -> None:
        async with self.tickets.taken(place):
            self.served.append(name)
            await asyncio.sleep(0)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_no_more_than_so_many_at_once() -> None:
    """Forty come, three are served at a time, and all in the end."""
    tickets, now, most, served = PrioritySemaphore(3), 0, 0, 0

    async def visit() -> None:
        nonlocal now, most, served
        async with tickets.taken(Ticket(urgent=False)):
            now += 1
            most = max(most, now)
            await asyncio.sleep(0)
            now -= 1
            served += 1

    await asyncio.gather(*(visit() for _ in range(40)))
    assert (3, 40, 0) == (most, served, now)


async def test_who_has_somebody_waiting_goes_first() -> None:
    """Also if the waiting began while they stood in the queue; else first come, first served."""
    office = Office()
    places = {name: Ticket(urgent=name == "urgent") for name in ("first", "second", "hurried", "urgent")}
    async with office.tickets.taken(Ticket(urgent=True)):
        visits = [
            asyncio.ensure_future(office.visit(name, place))  # noqa: TID251 - gathered below
            for name, place in places.items()
        ]
        await settle()
        office.tickets.hurry(places["hurried"])
        office.tickets.hurry(places["hurried"])
    await asyncio.gather(*visits)
    assert ["urgent", "hurried", "first", "second"] == office.served


async def test_who_goes_away_takes_no_slot_along() -> None:
    """In the queue, and in the very moment of being called up: the next one is served."""
    office = Office()
    async with office.tickets.taken(Ticket(urgent=True)):
        visits = [
            asyncio.ensure_future(office.visit(name, Ticket(urgent=True)))  # noqa: TID251 - waited for below
            for name in ("leaves", "called", "last")
        ]
        await settle()
        visits[0].cancel()
        await settle()
    visits[1].cancel()  # the slot is its own, and it has not run since
    await asyncio.wait(visits, timeout=5)
    assert ["last"] == office.served
    async with office.tickets.taken(Ticket(urgent=True)):
        pass


async def test_a_place_can_be_used_again() -> None:
    """What stands in the other queue from before is passed over."""
    office, place = Office(), Ticket(urgent=False)
    for number in range(3):
        async with office.tickets.taken(Ticket(urgent=True)):
            visit = asyncio.ensure_future(office.visit(str(number), place))  # noqa: TID251 - awaited below
            await settle()
            office.tickets.hurry(place)
        await visit
    async with office.tickets.taken(Ticket(urgent=True)):
        pass
    assert ["0", "1", "2"] == office.served
