"""The moments at which a bench's users were seen last."""

from bff.crypto import Keyring, new_secret, session_key
from bff.session.record import format_seen
from tests.session.sample import NOW
from tests.support.processes.redis import RedisServer
from tests.tools.bench.uses import spread_uses

PLACES = ["", "desk"]


def test_uses_are_spread_over_the_interval(redis_server: RedisServer) -> None:
    """Each second of the interval has as many; each is proved by its frontend's key; who is gone stays so."""
    secret = new_secret()
    rings = [Keyring([secret]).of_frontend(place) for place in PLACES]
    handles = [rings[number % 2].new_handle() for number in range(2400)]
    names = [f"bff:session:{session_key(handle)}" for handle in handles]
    with redis_server.client() as client:
        for name in names[:-1]:
            client.hset(name, mapping={"seen": "1", "sub": "alice"})
        cookies = [f"bff={handle}" for handle in handles]
        spread_uses(cookies, secret, redis_server.url, now=NOW + 0.5, interval=60, frontends=PLACES)
        seen = [client.hget(name, "seen") for name in names]
        assert (None, 0) == (seen.pop(), client.exists(names[-1]))
        assert {1800} == {round(client.pttl(name) / 1000) for name in names[:-1:100]}
    seconds = [float(str(text).partition(".")[0]) for text in seen]
    counts = [seconds.count(NOW - age) for age in range(61)]
    assert ([40] * 58, 2399) == (counts[1:59], sum(counts))
    assert seen == [
        format_seen(second, handle, rings[number % 2])
        for number, (second, handle) in enumerate(zip(seconds, handles[:-1], strict=True))
    ]
