"""The limits that each request's head and body are held to: hosts, sizes, times. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from bff.policy.public_origin import PublicOrigin
from bff.settings.model import ServerSettings


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """The limits of `[server]`, ready for use. Times are seconds.

    A reverse proxy that asks for a token may do so by one of `asking_hosts`.
    """

    scheme: bytes
    hosts: frozenset[bytes]
    asking_hosts: frozenset[bytes]
    max_head_bytes: int
    max_head_fields: int
    max_path_bytes: int
    head_timeout: float
    body_timeout: float
    write_timeout: float

    @classmethod
    def configured(
        cls,
        settings: ServerSettings,
        asking_hosts: Iterable[str] = (),
        hosts: frozenset[bytes] | None = None,
    ) -> "RequestLimits":
        """Returns the limits of a server; `asking_hosts` are those of `[forward_auth]`.

        `hosts` are those of all frontends; None for the server's own.
        """
        public = PublicOrigin.parse(settings.public_url)
        return cls(
            scheme=public.scheme,
            hosts=public.hosts if hosts is None else hosts,
            asking_hosts=frozenset(host.lower().encode("ascii") for host in asking_hosts),
            max_head_bytes=settings.max_head_bytes,
            max_head_fields=settings.max_head_fields,
            max_path_bytes=settings.max_path_bytes,
            head_timeout=settings.head_timeout,
            body_timeout=settings.body_timeout,
            write_timeout=settings.write_timeout,
        )
