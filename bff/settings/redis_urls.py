"""The forms of `redis.url`, their parts and their rules. Pure.

redis://user:password@host:6379/0            rediss:// with TLS: ?ssl_ca_certs=…&ssl_certfile=…&ssl_keyfile=…
unix:///run/redis.sock
redis+sentinel://user:password@h1:26379,h2,h3/master/0     rediss+sentinel:// with TLS
redis+cluster://user:password@h1:6379,h2,h3                rediss+cluster:// with TLS
embedded                                     a private server, which ends with the process
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from bff.settings.url_check import Complaint

_MASTER = re.compile(r"[A-Za-z0-9._-]+")
_SENTINEL_PORT, _REDIS_PORT = 26379, 6379
_NO_SENTINELS = (
    "does not name Sentinels and a master",
    'write it like "redis+sentinel://h1:26379,h2:26379,h3:26379/mymaster/0"; encode @ : / in passwords',
)
_NO_SERVERS = (
    "does not name servers of a cluster",
    'write it like "redis+cluster://h1:6379,h2:6379,h3:6379" (no database); encode @ : / in passwords',
)


@dataclass(frozen=True, slots=True)
class SentinelUrl:
    """`redis.url` for Redis Sentinel: `redis+sentinel://user:password@h1:26379,h2,h3/master/0?…`.

    Attributes:
        sentinels: host and port of each.
        master: the name that the Sentinels know the master by.
        server: a `redis://` or `rediss://` URL with all that the master is told, but for its address.
    """

    sentinels: tuple[tuple[str, int], ...]
    master: str
    server: str
    sentinel_username: str | None
    sentinel_password: str | None

    @classmethod
    def parse(cls, url: str) -> "SentinelUrl | None":
        """Returns the parts of such a URL; None for any other.

        Raises:
            ValueError: it has the scheme, and does not name Sentinels and a master.
        """
        if (parts := _Parts.of(url, "+sentinel://")) is None:
            return None
        master, _, database = parts.path.partition("/")
        sentinels = _addresses(parts.hosts, _SENTINEL_PORT)
        if not _MASTER.fullmatch(master) or re.fullmatch(r"\d*", database) is None:
            raise ValueError("no master is named")
        said = dict(parse_qsl(parts.query))
        left = urlencode({name: value for name, value in said.items() if not name.startswith("sentinel_")})
        server = f"{parts.scheme}://{parts.user}sentinel/{database}{'?' if left else ''}{left}"
        return cls(sentinels, master, server, said.get("sentinel_username"), said.get("sentinel_password"))


@dataclass(frozen=True, slots=True)
class ClusterUrl:
    """`redis.url` for Redis Cluster: `redis+cluster://user:password@h1:6379,h2,h3?…`.

    Attributes:
        seeds: host and port of each server that is named; the others are asked for.
        server: a `redis://` or `rediss://` URL with all that a server is told, but for its address.
    """

    seeds: tuple[tuple[str, int], ...]
    server: str

    @classmethod
    def parse(cls, url: str) -> "ClusterUrl | None":
        """Returns the parts of such a URL; None for any other.

        Raises:
            ValueError: it has the scheme, and does not name servers of a cluster.
        """
        if (parts := _Parts.of(url, "+cluster://")) is None:
            return None
        if parts.path not in {"", "0"}:
            raise ValueError("a cluster has database 0 alone")
        mark = "?" if parts.query else ""
        server = f"{parts.scheme}://{parts.user}cluster/0{mark}{parts.query}"
        return cls(_addresses(parts.hosts, _REDIS_PORT), server)


class _Parts(NamedTuple):
    """The parts of a URL with several hosts; `user` ends with its @, where there is one."""

    scheme: str
    user: str
    hosts: str
    path: str
    query: str

    @classmethod
    def of(cls, url: str, mark: str) -> "_Parts | None":
        scheme, _, rest = url.partition(mark)
        if scheme not in {"redis", "rediss"} or not rest:
            return None
        head, _, query = rest.partition("?")
        authority, _, path = head.partition("/")
        user, at, hosts = authority.rpartition("@")
        return cls(scheme, user + at, hosts, path, query)


def _addresses(hosts: str, port: int) -> tuple[tuple[str, int], ...]:
    found = [urlsplit(f"//{host}") for host in hosts.split(",")]
    if not all(each.hostname and each.port != 0 for each in found):
        raise ValueError("a server without a host or a port")
    return tuple((str(each.hostname), each.port or port) for each in found)


def redis_complaint(url: str) -> Complaint | None:
    """`redis.url`; the texts never repeat it, since it may hold a password."""
    known = 'use redis://, rediss:// (TLS), redis+sentinel://, redis+cluster://, unix:// or "embedded"'
    scheme = url.partition(":")[0]
    if scheme in {"redis+sentinel", "rediss+sentinel"}:
        return None if _names_sentinels(url) else _NO_SENTINELS
    if scheme in {"redis+cluster", "rediss+cluster"}:
        return None if _names_cluster(url) else _NO_SERVERS
    if url != "embedded" and scheme not in {"redis", "rediss", "unix"}:
        return "has no scheme that is known here", known
    if url != "embedded" and not _names_redis(url):
        return (
            "does not say where Redis is",
            'write it like "redis://127.0.0.1:6379/0" or "unix:///run/redis.sock"; encode @ : / in passwords',
        )
    return None


def redis_tls_files(url: str) -> dict[str, Path]:
    """The files that `redis.url` names for TLS: `ca`, `cert` and `key`, as far as it does."""
    names = {"ca": "ssl_ca_certs", "cert": "ssl_certfile", "key": "ssl_keyfile"}
    named = _names_sentinels(url) or _names_cluster(url) or _names_redis(url)
    if not url.startswith(("rediss://", "rediss+sentinel://", "rediss+cluster://")) or not named:
        return {}
    query = dict(parse_qsl(urlsplit(url).query))
    return {part: Path(query[name]) for part, name in names.items() if query.get(name)}


def redis_target(url: str) -> str:
    """`redis.url` by host, port and database, without user and password: for people and logs."""
    parts = urlsplit(url)
    if url == "embedded":
        return url
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    if (sentinel := SentinelUrl.parse(url)) is not None:
        hosts = ",".join(f"{host}:{port}" for host, port in sentinel.sentinels)
        return f"{parts.scheme}://{hosts}/{sentinel.master}"
    if (cluster := ClusterUrl.parse(url)) is not None:
        return f"{parts.scheme}://{','.join(f'{host}:{port}' for host, port in cluster.seeds)}"
    return f"{parts.scheme}://{parts.hostname}:{parts.port or _REDIS_PORT}{parts.path}"


def _names_sentinels(url: str) -> bool:
    try:
        return SentinelUrl.parse(url) is not None
    except ValueError:
        return False


def _names_cluster(url: str) -> bool:
    try:
        return ClusterUrl.parse(url) is not None
    except ValueError:
        return False


def _names_redis(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    if parts.scheme == "unix":
        return len(parts.path) > 1
    return bool(parts.hostname) and port != 0 and re.fullmatch(r"(?:/\d*)?", parts.path) is not None
