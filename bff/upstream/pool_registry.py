"""The connection pools of a process, and the settings of a route as they know them."""

from collections.abc import Collection
from weakref import WeakKeyDictionary

from bff.policy.routes import Route, Upstream
from bff.settings.model import RouteSettings
from bff.upstream.backend_call import CallTimeouts
from bff.upstream.connector import TlsNames, client_tls
from bff.upstream.pool import PoolLimits, UpstreamPool
from bff.upstream.response_parser import AnswerLimits


class Pools:
    """The pools of a process, one for each backend and set of limits.

    Routes to the same backend share its pool where they set the same limits, timeouts and TLS.
    """

    def __init__(self) -> None:
        self._pools: dict[tuple[Upstream, PoolLimits, CallTimeouts, TlsNames | None], UpstreamPool] = {}
        self._retired: WeakKeyDictionary[UpstreamPool, Upstream] = WeakKeyDictionary()

    def for_upstream(self, route: Route) -> UpstreamPool:
        """Returns the pool that carries a route's calls, made when it is first asked for.

        Raises:
            OSError: the route's certificates cannot be used; the settings' check says so before.
        """
        limits, timeouts = limits_of(route), timeouts_of(route)
        names = TlsNames.of(route.settings) if route.upstream.scheme == "https" else None
        key = (route.upstream, limits, timeouts, names)
        pool = self._pools.get(key)
        if pool is None:
            tls, server_name = (None, None) if names is None else (client_tls(names), names.server_name)
            pool = UpstreamPool(route.upstream, limits, timeouts, tls, server_name)
            self._pools[key] = pool
        return pool

    def retain(self, used: Collection[UpstreamPool]) -> None:
        """Retires the pools that no route uses any more."""
        for key, pool in list(self._pools.items()):
            if pool not in used:
                del self._pools[key]
                self._retired[pool] = key[0]
                pool.retire()

    def renew(self, routes: Collection[RouteSettings]) -> None:
        """Reads the certificates of these routes anew.

        Raises:
            OSError: a file cannot be used; nothing has changed.
        """
        made = {names: client_tls(names) for names in {TlsNames.of(route) for route in routes}}
        for (_, _, _, names), pool in self._pools.items():
            if names in made:
                pool.trust(made[names])

    def all(self) -> list[tuple[Upstream, UpstreamPool]]:
        """Returns all pools with their backends, those that are retired at the end."""
        used = [(key[0], pool) for key, pool in self._pools.items()]
        return [*used, *((upstream, pool) for pool, upstream in self._retired.items())]

    def open_at(self, name: str) -> int:
        """Returns the number of open connections to the backend of this name."""
        return sum(pool.stats().open for upstream, pool in self.all() if upstream.name == name)

    async def aclose(self) -> None:
        """Closes all pools."""
        for _, pool in self.all():
            await pool.aclose()


def limits_of(route: Route) -> PoolLimits:
    """Returns the pool's part of a route's settings."""
    settings = route.settings
    return PoolLimits(
        settings.max_connections,
        settings.connect_timeout,
        settings.queue_timeout,
        max_streams=settings.max_streams,
        answer=AnswerLimits(settings.max_answer_head, settings.max_answer_fields),
    )


def timeouts_of(route: Route) -> CallTimeouts:
    """Returns the calls' part of a route's settings."""
    settings = route.settings
    unlimited = CallTimeouts()
    return CallTimeouts(
        first_byte=settings.response_timeout,
        between_bytes=settings.idle_timeout,
        write=settings.write_timeout,
        total=unlimited.total if settings.total_timeout is None else settings.total_timeout,
        go_ahead=settings.expect_wait,
    )
