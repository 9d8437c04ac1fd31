"""The origin that browsers see, as `server.public_url` or a frontend's names it. Pure."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from urllib.parse import urlsplit


@dataclass(frozen=True)
class PublicOrigin:
    """The one origin that browsers see, as it stands in `Origin` and `Host`: a scheme's own port left out."""

    scheme: bytes
    host: bytes

    @classmethod
    @lru_cache(maxsize=1024)  # one object of each, whose bytes calls compare
    def parse(cls, public_url: str) -> "PublicOrigin":
        """Takes a `public_url` apart; ValueError unless it is http(s)://host[:port] and no more."""
        parts = urlsplit(public_url.lower())
        if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
            raise ValueError("write it like https://app.example.com")
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError("an origin has no path: write it like https://app.example.com")
        name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        if parts.port not in {None, 443 if parts.scheme == "https" else 80}:
            name = f"{name}:{parts.port}"
        return cls(parts.scheme.encode("ascii"), name.encode("ascii"))

    @cached_property
    def hosts(self) -> frozenset[bytes]:
        """The spellings of the host: the scheme's own port may be named or left out."""
        own_port = b":443" if self.scheme == b"https" else b":80"
        bare = self.host.endswith(b"]") or b":" not in self.host
        return frozenset({self.host, self.host + own_port} if bare else {self.host})

    @cached_property
    def origin(self) -> bytes:
        """The serialised origin (RFC 6454 6.2)."""
        return self.scheme + b"://" + self.host
