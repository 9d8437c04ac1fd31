"""The resources that are acquired before serving: descriptors, sockets, the private Redis.

Rule 1: the sockets are bound before anything else is started, so that a port in use is the only message.
Rule 2: several workers have a socket each on one port (SO_REUSEPORT), and the kernel spreads connections
over them. Of one shared socket the first worker to wake takes all that wait: of 32 connections that came
together it took 32, and half of the machine stood still. A socket of one's own dies with its worker, so that
no connection waits where nobody serves.
Rule 3: the port is bound without SO_REUSEPORT at first, so that a second proxy cannot slip in beside us.
"""

import contextlib
import errno
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import SecretStr

from bff import __version__
from bff.embedded import EmbeddedRedis, EmbeddedRedisError
from bff.observe.logs import get_logger
from bff.settings.model import Settings
from bff.settings.redis_urls import redis_target

LAST_WORDS = 5.0
"""What the application gets for its own end, in seconds, after the requests had `shutdown_timeout`."""

_BACKLOG = 2048
_ENOUGH_DESCRIPTORS = 4096
_MOST_DESCRIPTORS = 1024 * 1024

SPREADS = sys.platform == "linux"
"""Whether SO_REUSEPORT spreads connections; elsewhere it gives all of them to one socket."""

_log = get_logger("bff.serve")


class CannotStartError(Exception):
    """A resource that serving needs cannot be had; the message names the setting and the way out."""


@dataclass(frozen=True, slots=True)
class ServerResources:
    """The resources of a serving process, or of the supervisor of several.

    Attributes:
        settings: with the address of the Redis that runs, where it is the private one.
        listener: listens for one process; for several it holds the port, and `worker_socket` listens.
        ops: listens on the ops port, if there is one.
    """

    settings: Settings
    listener: socket.socket
    ops: socket.socket | None

    def announcement(self) -> dict[str, object]:
        """The fields of the log event `listening`, for one process or several."""
        settings = self.settings
        return {
            "version": __version__,
            "address": _address(self.listener),
            "public_url": settings.server.public_url,
            "ops": None if self.ops is None else _address(self.ops),
            "redis": redis_target(settings.redis.url.get_secret_value()),
            "provider": settings.provider.issuer,
            "routes": len(settings.route),
        }

    def worker_socket(self) -> socket.socket:
        """A socket on the listener's port for one of several workers; it does not listen yet."""
        if not SPREADS:
            return self.listener.dup()
        own = socket.socket(self.listener.family, socket.SOCK_STREAM)
        try:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if own.family == socket.AF_INET6:
                own.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            own.bind(self.listener.getsockname())
        except OSError:
            own.close()
            raise
        own.setblocking(False)
        return own


@contextlib.contextmanager
def prepared(settings: Settings) -> Iterator[ServerResources]:
    """Raises the descriptor limit, binds, and starts the private Redis; CannotStartError names the fault."""
    _raise_descriptor_limit()
    server = settings.server
    with contextlib.ExitStack() as stack:
        several = server.workers > 1
        listener = stack.enter_context(_bound("server.port", server.host, server.port, hold=several))
        ops = None
        if server.ops_port is not None:
            ops = stack.enter_context(_bound("server.ops_port", server.ops_host, server.ops_port))
        if settings.redis.url.get_secret_value() == "embedded":
            try:
                redis = stack.enter_context(EmbeddedRedis())
            except EmbeddedRedisError as failure:
                raise CannotStartError(str(failure)) from failure
            _log.info("embedded_redis", kind=redis.kind, port=redis.port)
            located = settings.redis.model_copy(update={"url": SecretStr(redis.url)})
            settings = settings.model_copy(update={"redis": located})
        yield ServerResources(settings, listener, ops)


def _bound(setting: str, host: str, port: int, *, hold: bool = False) -> socket.socket:
    """A listening socket, or one that only holds its port; CannotStartError if it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = _holding(host, port, family) if hold else _listening(host, port, family)
    except OSError as error:
        variable = "BFF_" + setting.upper().replace(".", "__")
        way_out = f"set {setting} ({variable}) to another, or 0 for any free one"
        if error.errno == errno.EADDRINUSE:
            raise CannotStartError(
                f"port {port} on {host} is in use: stop what listens there, or {way_out}"
            ) from None
        if error.errno == errno.EACCES:
            raise CannotStartError(f"port {port} is not open to this user: {way_out}") from None
        raise CannotStartError(f"cannot listen on {host} port {port}: {error.strerror}; {way_out}") from None
    bound.setblocking(False)
    return bound


def _listening(host: str, port: int, family: socket.AddressFamily) -> socket.socket:
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


def _holding(host: str, port: int, family: socket.AddressFamily) -> socket.socket:
    holder = socket.socket(family, socket.SOCK_STREAM)
    try:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of a former run may linger
        if family == socket.AF_INET6:
            holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        holder.bind((host, port))
        if SPREADS:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError:
        holder.close()
        raise
    return holder


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _raise_descriptor_limit() -> None:
    """Raises the limit of open files: each call takes two, and the usual 1,024 are there for `select`."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if 0 <= soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    if 0 <= soft < _ENOUGH_DESCRIPTORS:
        _log.warning("few_descriptors", limit=soft, detail="raise it (ulimit -n): each call takes two")
