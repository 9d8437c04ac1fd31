"""Redirects and cookies of a backend in terms of the public origin.

A backend knows itself by the Host and the path that it is asked for. A redirect that is built from these
names the inside: `http://10.0.0.7:8000/items/` for `/api/items/`. Pure.

Rule 1: only a URL that names the backend itself, under the path that its route leads to, is mapped; all else
is the backend's word, and stays as it is (as with nginx's `proxy_redirect default`).
Rule 2: a mapped URL stays on our origin, with any path that the backend put behind its own name.
"""

import re
from dataclasses import dataclass

from bff.policy.public_origin import PublicOrigin
from bff.policy.routes import Route

_URL = re.compile(rb"(?:https?:)?//([^/?#\\]*)([^?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_REFRESH = re.compile(
    rb"([0-9.]+[ \t]*[;,][ \t]*(?:url[ \t]*=[ \t]*)?)([\"']?)(.*?)(\2)[ \t]*", re.IGNORECASE
)
_TO_ELSEWHERE = re.compile(rb"/[/\\]|.*[\x00-\x20\\]", re.DOTALL)  # browsers drop tabs, and read `\` as `/`
_BLANK = b" \t"


@dataclass(frozen=True, slots=True)
class PublicView:
    """The public view of one route's backend.

    `inside` is the backend's path that `outside` stands for; both without a slash at the end.
    """

    names: frozenset[bytes]  # the backend's, with and without its port
    host: bytes
    inside: bytes
    outside: bytes
    origin: bytes
    public_host: bytes
    prefix_told: bool

    @classmethod
    def of(cls, route: Route, public: PublicOrigin) -> "PublicView":
        """The view of a route's backend behind `public`."""
        upstream, settings = route.upstream, route.settings
        host = upstream.host.lower().encode("ascii")
        bare = b"[" + host + b"]" if b":" in host else host
        return cls(
            names=frozenset({route.host_header.lower(), b"%b:%d" % (bare, upstream.port)}),
            host=host,
            inside=route.upstream_path,
            outside=route.path if settings.strip_prefix else b"",
            origin=public.scheme + b"://" + public.host,
            public_host=re.sub(rb":[0-9]+$", b"", public.host).lower(),
            prefix_told=settings.forwarded_prefix and settings.strip_prefix,
        )

    def url(self, value: bytes) -> bytes:
        """A URL of a backend's answer; one that does not name the backend itself comes back as it is.

        Either scheme is the backend's: it is told ours, and may build its URLs by that.
        """
        found = _URL.fullmatch(value)
        if found is None or found[1].lower() not in self.names:
            return value
        path = self._path(found[2] or b"/")
        if path is None:
            return value
        mapped = path + found[3]
        return self.origin + mapped if _TO_ELSEWHERE.match(mapped) else mapped

    def refresh(self, value: bytes) -> bytes:
        """Returns the value of a `Refresh` field with its URL as browsers see it."""
        found = _REFRESH.fullmatch(value)
        return value if found is None else found[1] + found[2] + self.url(found[3]) + found[4]

    def cookie(self, value: bytes) -> bytes:
        """A `Set-Cookie` for our host, and under the path of the backend's route.

        A Domain that is the backend's is dropped; one that browsers take for ours stays. `__Host-` cookies
        must be for `/`.
        """
        first, *attributes = value.split(b";")
        pinned = first.strip(_BLANK + b"=").lower().startswith(b"__host-")
        kept = [first]
        for attribute in attributes:
            name, equals, said = attribute.partition(b"=")
            match name.strip(_BLANK).lower():
                case b"domain" if self._is_backends(said.strip(_BLANK).lower().lstrip(b".")):
                    continue
                case b"path" if equals and not pinned:
                    kept.append(name + equals + self._cookie_path(said.strip(_BLANK)))
                case _:
                    kept.append(attribute)
        return b";".join(kept)

    def _path(self, path: bytes) -> bytes | None:
        """The public path; None for one that this route does not lead to."""
        if self.prefix_told and self.outside and _under(path, self.outside):
            return path  # the backend has heeded X-Forwarded-Prefix
        if _under(path, self.inside):
            return (self.outside + path[len(self.inside) :]) or b"/"
        return None

    def _cookie_path(self, path: bytes) -> bytes:
        if not path.startswith(b"/"):
            return path  # browsers take the request's own then
        if path == b"/":
            return self.outside or b"/"
        public = self._path(path)
        return path if public is None else public

    def _is_backends(self, domain: bytes) -> bool:
        return _within(self.host, domain) and not _within(self.public_host, domain)


def _under(path: bytes, prefix: bytes) -> bool:
    return path == prefix or path.startswith(prefix + b"/")


def _within(host: bytes, domain: bytes) -> bool:
    return domain != b"" and (host == domain or host.endswith(b"." + domain))
