"""Looks at the Redis that the settings name: can it be used, and is there anything that we do without.

Likewise the lists of revoked tokens that routes ask, in the Redis of their issuers.

Rule 1: what an account may not do, or a service does not offer, is told with its price; it is no error where
the proxy works without it.
"""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from bff.embedded import EmbeddedRedisError, find_redis
from bff.serve.check_result import Check
from bff.session.cluster.client import ClusterClient, masters_of
from bff.session.redis_clients import new_client
from bff.session.redis_condition import eviction_policy, names_on_each
from bff.session.redis_connection import connect, new_connection
from bff.session.redis_errors import trouble
from bff.settings.frontends import frontends_of
from bff.settings.model import RedisSettings, RouteSettings, Settings
from bff.settings.redis_urls import redis_target

OLDEST_REDIS = (6, 2)
_INFO = ("INFO", "replication")
_ROUTES, _LIST = "route revocations", "route.bearer_revocations"
_TIMEOUT = 5.0  # seconds, for a list of revoked tokens
_UNFOLLOWED = "without it every call asks Redis, and open streams hear of an end half a second later"


async def look_at_redis(settings: RedisSettings) -> list[Check]:
    """Makes all checks of one Redis, or of the masters of a cluster."""
    url = settings.url.get_secret_value()
    target = redis_target(url)
    if url == "embedded":
        try:
            found = find_redis()
        except EmbeddedRedisError as error:
            return [Check("redis", target, False, str(error), "")]
        fix = "" if found.real else "install redis-server; the imitation is for trying things out"
        return [Check("redis", target, True, found.kind, fix)]
    client = new_client(settings)
    try:
        return await _ask_redis(client, settings, target)
    except (RedisError, OSError) as error:
        told = trouble(error)
        return [Check("redis", target, False, told.detail, told.fix)]
    finally:
        await client.aclose()


async def _ask_redis(client: Redis, settings: RedisSettings, target: str) -> list[Check]:
    masters = await masters_of(client)
    for master in masters:
        await master.ping()
    checks = [await _version(masters[0], target)]
    name = f"{settings.prefix}:check:{secrets.token_hex(8)}"
    try:
        for key in await names_on_each(client, name):
            # By a script, as the store writes: an account may be allowed the one and not the other.
            await client.eval("return redis.call('SET', KEYS[1], '1', 'EX', 10)", 1, key)
            await client.delete(key)
        checks.append(Check("redis writable", target, True, f"under {settings.prefix}:"))
    except ResponseError as error:
        told = trouble(error)
        checks.append(Check("redis writable", target, False, told.detail, told.fix))
    checks.append(await _eviction(client, target))
    checks += await _clock(masters[0], target)
    checks += await _changes(settings, target, await _address(client))
    checks += await _replicas(masters[0], settings, target)
    return checks


async def _address(client: Redis) -> tuple[str, int] | None:
    """One of a cluster's masters; None where there is no cluster."""
    if not isinstance(client, ClusterClient):
        return None
    return min((await client.topology.known()).masters)


async def _version(client: Redis, target: str) -> Check:
    try:
        info: Mapping[str, Any] = await client.info("server")
    except ResponseError:
        return Check("redis", target, True, "reached; INFO is not allowed, its version is unknown")
    version = str(info.get("redis_version", "0"))
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {version}"
    number = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if number < OLDEST_REDIS:
        return Check("redis", target, False, f"{name} is too old", "use Redis 6.2 or later, or Valkey")
    return Check("redis", target, True, name)


async def _eviction(client: Redis, target: str) -> Check:
    name = "redis eviction"
    try:
        policy = await eviction_policy(client) or "unknown"
    except ResponseError:
        return Check(name, target, True, "CONFIG is not allowed: unknown", "make sure that it is noeviction")
    if policy != "noeviction":
        fix = "set maxmemory-policy noeviction: else a full Redis signs people out"
        return Check(name, target, True, f"maxmemory-policy is {policy}", fix)
    return Check(name, target, True, policy)


async def _clock(client: Redis, target: str) -> list[Check]:
    """Limits that all processes share count by Redis' clock; an account that may not ask has none."""
    try:
        await client.time()
    except ResponseError:
        detail = "TIME is not allowed: limits on how often fail open"
        return [Check("redis limits", target, True, detail, "allow the user +time")]
    return []


async def _changes(settings: RedisSettings, target: str, address: tuple[str, int] | None) -> list[Check]:
    """Asks for what the feed of changes needs; nothing is to be told where it has all."""
    name, prefix = "redis changes", settings.prefix
    watched = ("PREFIX", f"{prefix}:session:", "PREFIX", f"{prefix}:ended:")
    connection = new_connection(settings, address)
    refused: list[str] = []
    try:
        async with asyncio.timeout(settings.timeout):
            await connect(connection)
            for words in (("CLIENT", "TRACKING", "ON", "BCAST", *watched), ("ROLE",), _INFO):
                await connection.send_command(*words)
                try:
                    await connection.read_response()
                except ResponseError:
                    refused.append(words[0])
    except (RedisError, OSError, TimeoutError) as error:
        return [Check(name, target, True, f"cannot be followed ({type(error).__name__})", _UNFOLLOWED)]
    finally:
        await connection.disconnect(nowait=True)
    if "CLIENT" in refused:
        return [Check(name, target, True, "CLIENT TRACKING is refused", f"+client|tracking: {_UNFOLLOWED}")]
    if {"ROLE", "INFO"} <= set(refused) and address is None:
        return [Check(name, target, True, "ROLE and INFO are refused", f"+role: {_UNFOLLOWED}")]
    return []


async def _replicas(client: Redis, settings: RedisSettings, target: str) -> list[Check]:
    """Tries WAIT, which answers at once for no replica; nothing is told where it does, or is not used."""
    if settings.wait_for_replicas == 0:
        return []
    try:
        await client.wait(0, 1)
    except ResponseError:
        fix = "+wait: without it a master that is lost right after a sign-out may bring the session back"
        return [Check("redis replicas", target, True, "WAIT is refused: endings are not confirmed", fix)]
    return []


async def look_at_revocations(settings: Settings) -> list[Check]:
    """Asks each list once for a token that nobody has, as `bff.verify` asks."""
    routes = [route for view in frontends_of(settings) for route in view.settings.route]
    return [await _look(url, prefix) for url, prefix in _lists(routes)]


def _lists(routes: Sequence[RouteSettings]) -> list[tuple[str, str]]:
    """Each list once: its URL, and the prefix of its marks."""
    named = [
        (route.bearer_revocations.get_secret_value(), route.bearer_revocations_prefix)
        for route in routes
        if route.bearer_revocations is not None and route.takes_bearer()
    ]
    return list(dict.fromkeys(named))


async def _look(url: str, prefix: str) -> Check:
    target = redis_target(url)
    client: Redis = Redis.from_url(url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT)
    try:
        await client.exists(f"{prefix}:revoked:jti:none", f"{prefix}:revoked:sid:none")
    except (RedisError, OSError) as error:
        told = trouble(error)
        fix = told.fix.replace("redis.url", _LIST)
        return Check(_ROUTES, target, False, told.detail, fix.replace("redis.prefix", f"{_LIST}_prefix"))
    finally:
        await client.aclose()
    return Check(_ROUTES, target, True, "can be asked")
