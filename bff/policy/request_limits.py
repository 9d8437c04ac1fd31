"""The limits that each request's head and body are held to: sizes, times, and allowed hosts. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from bff.policy.allowed_hosts import AllowedHosts
from bff.settings.model import ServerSettings


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """The limits of `[server]`, ready for use. Times are seconds."""

    hosts: AllowedHosts
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
        """Returns the limits of a server; its hosts are those of `AllowedHosts.configured`."""
        return cls(
            hosts=AllowedHosts.configured(settings, asking_hosts, hosts),
            max_head_bytes=settings.max_head_bytes,
            max_head_fields=settings.max_head_fields,
            max_path_bytes=settings.max_path_bytes,
            head_timeout=settings.head_timeout,
            body_timeout=settings.body_timeout,
            write_timeout=settings.write_timeout,
        )
