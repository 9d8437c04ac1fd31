"""Making a connection to a backend: its name, its addresses in turn, TLS."""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable

from bff.policy.routes import Upstream
from bff.proxy.connection import UpstreamConnection
from bff.proxy.sinks import Fault, FaultKind

_Address = tuple[str, int]


class UpstreamFaultError(Exception):
    """No connection could be had; `fault` says why, for the log and for the answer."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.detail)
        self.fault = fault


def client_tls() -> ssl.SSLContext:
    """The system's CAs, names checked, TLS 1.2 or newer, HTTP/1.1 only."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


async def dial(
    upstream: Upstream,
    make: Callable[[], UpstreamConnection],
    tls: ssl.SSLContext | None,
    deadline: float,
) -> UpstreamConnection:
    """Tries the addresses in the resolver's order, each with an equal share of the time that is left.

    Args:
        upstream: the backend; with `tls` its name is sent (SNI) and must be in the certificate.
        make: makes the protocol object of one attempt.
        tls: the client's context for https, None for http.
        deadline: by the loop's clock; name, addresses and TLS together.

    Raises:
        UpstreamFaultError: TIMEOUT or UNREACHABLE, with what the last address said.
    """
    loop = asyncio.get_running_loop()
    addresses = await _resolve(loop, upstream, deadline)
    fault = Fault(FaultKind.UNREACHABLE, "resolve: no address")
    for tried, (host, port) in enumerate(addresses):
        share = (deadline - loop.time()) / (len(addresses) - tried)
        try:
            async with asyncio.timeout(share):
                _, connection = await loop.create_connection(
                    make, host, port, ssl=tls, server_hostname=upstream.host if tls is not None else None
                )
        except TimeoutError:
            fault = Fault(FaultKind.TIMEOUT, "connect")
        except ssl.SSLError as error:
            fault = Fault(FaultKind.UNREACHABLE, f"TLS: {error.reason or type(error).__name__}")
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else type(error).__name__
            fault = Fault(FaultKind.UNREACHABLE, f"connect: {why}")
        else:
            if not connection.closed:
                return connection
            fault = Fault(FaultKind.UNREACHABLE, "connect: closed at once")
    raise UpstreamFaultError(fault)


async def _resolve(loop: asyncio.AbstractEventLoop, upstream: Upstream, deadline: float) -> list[_Address]:
    """The backend's addresses, in the resolver's order, each once."""
    try:
        async with asyncio.timeout_at(deadline):
            found = await loop.getaddrinfo(upstream.host, upstream.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise UpstreamFaultError(Fault(FaultKind.TIMEOUT, "resolve")) from None
    except (OSError, UnicodeError) as error:
        raise UpstreamFaultError(Fault(FaultKind.UNREACHABLE, f"resolve: {type(error).__name__}")) from error
    return list(dict.fromkeys((str(entry[4][0]), upstream.port) for entry in found))
