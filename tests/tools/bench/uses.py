"""The last uses of the sessions of a run: evenly spread over time, as those of real traffic are.

All sessions of a bench are stored at the same moment. So the notes of their use (once in
`session.slide_interval`) would fall due together: all of them in one run, and none in the next ones.
"""

from collections.abc import Sequence

import redis

from bff.crypto import Keyring, session_key
from bff.session import lua_scripts
from bff.session.record import format_seen

TTL = 30 * 60 * 1000
"""Milliseconds that a session lives if nobody uses it."""

_AT_ONCE = 1000


def spread_uses(
    cookies: Sequence[str],
    keys: str,
    url: str,
    *,
    now: float,
    interval: float,
    frontends: Sequence[str] = ("",),
) -> None:
    """Notes that the sessions of these cookies were used, one after the other, in the interval until now.

    They are of the frontends in turn, as `store_copies` has them. A session that is gone stays so.
    """
    rings = [Keyring([keys]).of_frontend(place) for place in frontends]
    step = interval / len(cookies)
    with redis.Redis.from_url(url) as client:
        touch = client.register_script(lua_scripts.TOUCH)
        for begin in range(0, len(cookies), _AT_ONCE):
            pipe = client.pipeline(transaction=False)
            for at, cookie in enumerate(cookies[begin : begin + _AT_ONCE], begin):
                handle = cookie.partition("=")[2]
                seen = format_seen(now - at * step, handle, rings[at % len(rings)])
                name = f"bff:session:{session_key(handle)}"
                touch(keys=[name], args=[seen, round(now * 1000), TTL], client=pipe)
            pipe.execute()
