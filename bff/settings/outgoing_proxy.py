"""The proxy that calls to the provider leave through (`provider.proxy`). Pure.

Without the setting there is no proxy, whatever the environment says: the secrets in these calls must not go
elsewhere because of a variable that was set for another purpose. `"environment"` honours `HTTPS_PROXY`,
`HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in small letters or capitals.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Self

from pydantic import SecretStr

ENVIRONMENT = "environment"
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class OutgoingProxy:
    """Proxies by the scheme of the URL, and hosts that are called without one. URLs may hold passwords."""

    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    exempt: tuple[str, ...] = ()

    @classmethod
    def choose(cls, setting: SecretStr | None, environ: Mapping[str, str]) -> Self:
        """The outgoing proxy that a setting selects in an environment."""
        if setting is None:
            return cls()
        url = setting.get_secret_value()
        if url != ENVIRONMENT:
            return cls(dict.fromkeys(_PORTS, url))
        proxies = {scheme: found for scheme in _PORTS if (found := _proxy_variable(environ, scheme))}
        exempt = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
        return cls(proxies, tuple(name for part in exempt.split(",") if (name := part.strip().lower())))

    def of(self, scheme: str, host: str, port: int | None) -> str | None:
        """The URL of the proxy for a call; None for none."""
        name, number = host.lower().strip("[]").rstrip("."), str(port or _PORTS.get(scheme))
        if any(_covers(entry, name, number) for entry in self.exempt):
            return None
        return self.proxies.get(scheme)


def _proxy_variable(environ: Mapping[str, str], scheme: str) -> str | None:
    names = [f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"]
    if "REQUEST_METHOD" in environ:
        names = [name for name in names if name != "HTTP_PROXY"]  # a CGI's `Proxy` header: httpoxy
    url = next((environ[name] for name in names if environ.get(name)), None)
    return url if url is None or "://" in url else f"http://{url}"


def _covers(entry: str, host: str, port: str) -> bool:
    """Returns True if a host is covered by an entry of `NO_PROXY`: `*`, a domain, an address, a network."""
    if entry == "*":
        return True
    try:
        return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass  # one of both is no address
    name, colon, only = entry.rpartition(":")
    if colon and only.isdigit() and (":" not in name or name.endswith("]")):
        if only != port:
            return False
        entry = name
    entry = entry.strip("[]").removeprefix("*").strip(".")
    return bool(entry) and (host == entry or host.endswith(f".{entry}"))
