"""The making of a connection to a backend: its socket or its name, its addresses in turn, TLS."""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bff.policy.connection_fault import connection_fault
from bff.policy.routes import Upstream
from bff.settings.model import RouteSettings
from bff.upstream.address_order import Address, AddressBook
from bff.upstream.interfaces import Fault, FaultKind

P = TypeVar("P", bound=asyncio.BaseProtocol)

_REST = 10.0
"""The seconds for which an address that took no connection is tried last."""

_UNSENT_MAX = 128 * 1024
"""The bytes of a body that the kernel may hold beyond the backend's window: by itself it holds megabytes
for a backend that does not read, and says "write on" all the while."""

_UNSENT_OPTION: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)  # Linux and macOS


def bound_unsent(transport: asyncio.Transport) -> None:
    """Bounds the kernel's unsent bytes, so that backpressure works."""
    connection = transport.get_extra_info("socket")
    if _UNSENT_OPTION is not None and connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, _UNSENT_OPTION, _UNSENT_MAX)


def ended_cleanly(transport: asyncio.Transport) -> bool:
    """Returns true if the backend itself ended the stream; without TLS there is no way to tell.

    Over TLS only a close_notify is: anybody on the way can end a TCP stream (RFC 9112, 9.8).
    """
    tls = transport.get_extra_info("ssl_object")
    if tls is None:
        return True
    try:
        return bool(tls.read(1) == b"")
    except ssl.SSLZeroReturnError:
        return True
    except ssl.SSLError:
        return False


class UpstreamFaultError(Exception):
    """The failure to make a connection; `fault` says why, for the log and for the answer."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.detail)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class TlsNames:
    """The names and certificates of a backend's TLS; None: the system's CAs, nobody, the URL's host."""

    ca_file: Path | None = None
    client_cert_file: Path | None = None
    client_key_file: Path | None = None
    server_name: str | None = None

    @classmethod
    def of(cls, route: RouteSettings) -> "TlsNames":
        """Returns the names of a route's backend."""
        return cls(route.ca_file, route.client_cert_file, route.client_key_file, route.server_name)


def client_tls(names: TlsNames | None = None) -> ssl.SSLContext:
    """Returns a context that checks names, for TLS 1.2 or newer and HTTP/1.1 only, with these certificates.

    Raises:
        OSError: a file cannot be read, or (`ssl.SSLError`) does not fit.
    """
    names = names or TlsNames()
    context = ssl.create_default_context(cafile=names.ca_file)
    context.set_alpn_protocols(["http/1.1"])
    if names.client_cert_file is not None:
        context.load_cert_chain(names.client_cert_file, names.client_key_file, password=str)
    return context


class Connector:
    """The maker of connections to one backend, which remembers the addresses that take none."""

    def __init__(
        self,
        upstream: Upstream,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        rest: float = _REST,
    ) -> None:
        self._upstream = upstream
        self._tls = tls
        self._server_name = None if tls is None else server_name or upstream.host
        self._book = AddressBook(rest)

    def trust(self, tls: ssl.SSLContext) -> None:
        """Makes the next connections with other certificates."""
        assert self._tls is not None
        self._tls = tls

    async def dial(self, make: Callable[[], P], deadline: float) -> P:
        """Tries the addresses in turn, each with an equal share of the time that is left.

        Args:
            make: makes the protocol object of one attempt.
            deadline: by the loop's clock; name, addresses and TLS together.

        Raises:
            UpstreamFaultError: TIMEOUT or UNREACHABLE, with the failure at the last address.
        """
        loop = asyncio.get_running_loop()
        if self._upstream.socket is not None:
            made = await self._try(loop, make, None, deadline - loop.time())
            if isinstance(made, Fault):
                raise UpstreamFaultError(made)
            return made
        addresses = self._book.in_order(await self._resolve(loop, deadline), loop.time())
        fault = Fault(FaultKind.UNREACHABLE, "resolve: no address")
        for tried, address in enumerate(addresses):
            share = (deadline - loop.time()) / (len(addresses) - tried)
            made = await self._try(loop, make, address, share)
            if not isinstance(made, Fault):
                self._book.worked(address)
                return made
            self._book.failed(address, loop.time())
            fault = made
        raise UpstreamFaultError(fault)

    async def _try(
        self,
        loop: asyncio.AbstractEventLoop,
        make: Callable[[], P],
        address: Address | None,
        seconds: float,
    ) -> P | Fault:
        try:
            async with asyncio.timeout(seconds):
                if address is None:
                    transport, connection = await loop.create_unix_connection(make, self._upstream.socket)
                else:
                    host, port = address
                    transport, connection = await loop.create_connection(
                        make, host, port, ssl=self._tls, server_hostname=self._server_name
                    )
        except TimeoutError:
            return Fault(FaultKind.TIMEOUT, "connect")
        except ssl.SSLError as error:
            return Fault(FaultKind.UNREACHABLE, f"TLS: {error.reason or type(error).__name__}")
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else type(error).__name__
            return Fault(FaultKind.UNREACHABLE, f"connect: {why}")
        if transport.is_closing():
            return Fault(FaultKind.UNREACHABLE, "connect: closed at once")
        return connection

    async def _resolve(self, loop: asyncio.AbstractEventLoop, deadline: float) -> list[Address]:
        """Returns the backend's addresses, as the resolver orders them."""
        host, port = self._upstream.host, self._upstream.port
        try:
            async with asyncio.timeout_at(deadline):
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except TimeoutError:
            raise UpstreamFaultError(Fault(FaultKind.TIMEOUT, "resolve")) from None
        except (OSError, UnicodeError) as error:
            why = connection_fault(error) or type(error).__name__
            fault = Fault(FaultKind.UNREACHABLE, f"resolve: {why}")
            raise UpstreamFaultError(fault) from error
        return [(str(entry[4][0]), port) for entry in found]
