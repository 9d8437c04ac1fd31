"""The place of a mounted proxy: requests as they are at its base path, and mistakes in mounting it.

Rule 1: the proxy works with the paths that browsers see. ASGI says that `path` and `raw_path` are these;
hosts that know their own root path only from a setting leave it out, and it is put in front here.
Rule 2: a proxy that is mounted elsewhere than its settings say would send browsers to addresses that are not
there: that is an error, at the start where it can be seen, else at the first request.
Rule 3: two proxies in one process know nothing of each other's sessions.
"""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from starlette.routing import BaseRoute, Mount
from starlette.types import Scope

from bff.settings.model import Settings

_OF_THE_HOST = ("app", "app_root_path", "endpoint", "path_params", "route", "router")


class MountError(RuntimeError):
    """The proxy is mounted where its settings do not say, twice, or in front of other routes."""


def placed(scope: Scope, base_path: str) -> Scope:
    """Returns the scope of a request for the proxy, without the changes of its host.

    Raises:
        MountError: the host has mounted it elsewhere.
    """
    root = scope.get("root_path", "").rstrip("/")
    if root != base_path and not base_path.startswith(root + "/"):
        raise MountError(
            f"this BFF is mounted at {root!r}, and server.base_path is {base_path!r}: "
            "both have to be the path that browsers see"
        )
    path: str = scope["path"]
    raw: bytes = scope.get("raw_path") or quote(path, safe="/:@!$&'()*+,;=~").encode("ascii")
    host_root = scope.get("app_root_path", root).rstrip("/")
    if host_root and not _is_under(path, host_root):
        path, raw = host_root + path, host_root.encode("ascii") + raw
    inner = {name: value for name, value in scope.items() if name not in _OF_THE_HOST}
    return {**inner, "path": path, "raw_path": raw, "root_path": ""}


def check_mounts(app: Any, bff: object, base_path: str) -> None:
    """Raises MountError if an application mounts the proxy twice, or has routes that it never reaches."""
    routes: list[BaseRoute] = list(getattr(app, "routes", ()))
    places = [number for number, route in enumerate(routes) if isinstance(route, Mount) and route.app is bff]
    if len(places) > 1:
        paths = " and ".join(repr(getattr(routes[number], "path", "")) for number in places)
        raise MountError(f"this BFF is mounted twice, at {paths}: mount it once, at {base_path or '/'!r}")
    for number in places:
        behind = [getattr(route, "path", "?") for route in routes[number + 1 :]]
        if getattr(routes[number], "path", "") == "" and behind:
            raise MountError(
                f"this BFF is mounted at '/' in front of {', '.join(behind[:3])}, which nobody can reach: "
                "mount it behind all other routes"
            )


def check_neighbours(settings: Settings, others: Iterable[Settings]) -> None:
    """Raises MountError if a session of another proxy in this process would count for this proxy."""
    redis, keys, base_path = settings.redis, set(settings.session.keys), settings.server.base_path
    for other in others:
        same = (redis.url, redis.prefix) == (other.redis.url, other.redis.prefix)
        if same and other.server.base_path != base_path and not keys.isdisjoint(other.session.keys):
            paths = " and ".join(repr(path or "/") for path in (other.server.base_path, base_path))
            raise MountError(
                f"the BFFs at {paths} share Redis, redis.prefix and keys: a session of one would be one of "
                "the other; give each a prefix of its own"
            )


def _is_under(path: str, root: str) -> bool:
    return path == root or path.startswith(root + "/")
