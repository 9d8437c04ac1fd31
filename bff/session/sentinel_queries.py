"""The queries to Redis Sentinel (`redis+sentinel://`): where the master is, and when it is another.

Rule 1: every new connection asks the Sentinels where the master is, and then the server whether it is one.
Rule 2: the Sentinels vote (`sentinel_votes.py`): one that was cut off from the others names the former master
for as long as it is, and that one may still take writes.
Rule 3: a connection to a former master may stay open for ever. The feed of invalidations asks again and again
whether its server is still the one that Sentinel names, and begins anew on the other where it is not.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from bff.observe.logs import get_logger
from bff.session.sentinel_votes import Address, Election, Naming, elect, is_superseded, parse_naming
from bff.settings.redis_urls import SentinelUrl
from bff.tasks import Tasks

PATIENCE = 0.2
"""Seconds that the first answer waits for those that may outvote it."""

_log = get_logger("bff.sentinel")


class MasterLocator:
    """The address of the master, as most Sentinels know it.

    All Sentinels are asked at once, each on a connection for these questions alone. Those that do not answer
    delay nothing once most of them agree, and for `PATIENCE` seconds at most after the first answer.

    Args:
        url: the Sentinels and the master's name.
        timeout: seconds for each Sentinel's connection and answers.
        tls: redis-py's options of TLS, for Sentinels as for the master.
    """

    def __init__(self, url: SentinelUrl, *, timeout: float, tls: Mapping[str, Any]) -> None:
        self._url = url
        self._options = {
            "username": url.sentinel_username,
            "password": url.sentinel_password,
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "retry": Retry(NoBackoff(), 0),
            "decode_responses": True,
            "encoding_errors": "replace",  # such a name leads nowhere
            "driver_info": None,  # two commands that an account may lack
            **tls,
        }
        self._timeout = timeout
        self._kind = SSLConnection if url.server.startswith("rediss:") else Connection
        self._differ = False

    async def locate(self) -> Election:
        """Returns the master that the Sentinels name.

        Raises:
            MasterNotFoundError: no Sentinel answers, or none of those that do knows such a master.
        """
        clock = asyncio.get_running_loop().time
        sentinels = self._url.sentinels
        tasks = Tasks()
        namings: list[Naming] = []
        found: Election | None = None
        patient_until: float | None = None
        try:
            asked = {tasks.spawn(self._ask(each), name="Sentinel") for each in sentinels}
            while asked and not (found and found.agreed):
                patience = None if patient_until is None else max(0.0, patient_until - clock())
                told, asked = await asyncio.wait(asked, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                if not told:
                    break
                namings += [naming for task in told if (naming := task.result()) is not None]
                found = elect(namings, len(sentinels))
                if found is not None and patient_until is None:
                    patient_until = clock() + PATIENCE
        finally:
            await tasks.cancel_all()
        if found is None:
            raise MasterNotFoundError("no Sentinel that answers knows a master of this name")
        self._note(found)
        return found

    async def has_moved(self, known: Election) -> bool:
        """Returns true if another master was elected since; false where no Sentinel can tell."""
        try:
            return is_superseded(known, await self.locate())
        except MasterNotFoundError:
            return False

    async def _ask(self, address: Address) -> Naming | None:
        host, port = address
        connection = self._kind(host=host, port=port, **self._options)
        try:
            async with asyncio.timeout(self._timeout):
                await connection.connect()  # type: ignore[no-untyped-call] # redis-py gives it no types
                return await self._naming(connection)
        except (RedisError, OSError):
            return None
        except Exception as failure:  # noqa: BLE001 - redis-py raises all sorts at what is no answer
            kind = type(failure).__name__
            _log.warning("sentinel_answers_oddly", sentinel=f"{host}:{port}", error=kind)
            return None
        finally:  # not a client of redis-py's: one that is cancelled leaves its connection open
            await connection.disconnect(nowait=True)

    async def _naming(self, connection: AbstractConnection) -> Naming | None:
        """Asks for the address, which is the new one from the middle of a failover on, and its epoch."""
        await connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._url.master)
        address = await connection.read_response()
        await connection.send_command("SENTINEL", "MASTER", self._url.master)
        try:
            state = await connection.read_response()
        except ResponseError:  # it knows no such master, or the account may not ask
            state = None
        return parse_naming(address, state)

    def _note(self, found: Election) -> None:
        """Logs that Sentinels disagree, once for as long as they do."""
        if found.others and not self._differ:
            named = {f"{host}:{port}": votes for (host, port), votes in found.others}
            host, port = found.address
            _log.warning("sentinels_disagree", taken=f"{host}:{port}", votes=found.votes, others=named)
        self._differ = bool(found.others)


class ToMaster:
    """Over a kind of connection: it leads to the master that its locator names (Rule 1)."""

    host: str
    port: int

    def __init__(self, *, locator: MasterLocator, **options: Any) -> None:
        self._locator = locator
        self._elected: Election | None = None
        super().__init__(**options)

    async def has_moved(self) -> bool:
        """Returns true if another master was elected since this connection was made."""
        return self._elected is not None and await self._locator.has_moved(self._elected)

    async def _connect(self) -> None:
        self._elected = await self._locator.locate()
        self.host, self.port = self._elected.address
        await super()._connect()  # type: ignore[misc] # redis-py's

    async def on_connect_check_health(self, *arguments: Any, **options: Any) -> None:
        """Signs in, as redis-py does, and asks the server whether it is a master."""
        await super().on_connect_check_health(*arguments, **options)  # type: ignore[misc] # redis-py's
        assert isinstance(self, AbstractConnection)
        await self.send_command("ROLE")
        role = await self.read_response()
        said = role[0] if isinstance(role, list) and role else role
        if said not in {"master", b"master"}:
            raise RedisConnectionError("the server that Sentinel names is no master")
