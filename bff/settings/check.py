"""Checks that valid values make sense, alone and together. Pure: referenced_files.py looks at the disk.

Each rule yields findings, and the loader collects them all. A finding names every setting that it rests
on, so that it can be dropped when one of them is itself broken.

An https `public_url` rules out two settings that are too weak for real users: `same_site = "lax"`, and an
http issuer. Both are accepted on plain http, that is on loopback.
"""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from bff.settings.binding_check import check_binding
from bff.settings.dpop_check import check_dpop
from bff.settings.forward_auth_check import check_forward_auth
from bff.settings.frontend_check import check_several, judged
from bff.settings.model import RouteSettings, ServerSettings, SessionSettings, Settings
from bff.settings.problem import Finding, complaint_about
from bff.settings.provider_check import PROVIDER_URLS, check_provider
from bff.settings.redis_urls import redis_complaint
from bff.settings.route_access_check import check_access, check_step_up
from bff.settings.route_check import check_passing
from bff.settings.server_keys import parse_key
from bff.settings.token_check import check_introspection, check_minted, check_token
from bff.settings.url_check import (
    base_path_complaint,
    host_complaint,
    local_path_complaint,
    public_url_complaint,
    route_path_complaint,
    spa_url_complaint,
    upstream_complaint,
)
from bff.settings.url_parts import under

EXAMPLE_KEY = "REPLACE-ME-with-what-bff-keys-generate-says"

MAX_LIFETIME = 7 * 86400.0

_SAFELISTED = frozenset({"accept", "accept-language", "content-language", "content-type", "range"})
_TAKEN = frozenset(
    {
        "authorization", "connection", "content-length", "cookie", "expect", "forwarded", "host", "origin",
        "referer", "te", "trailer", "transfer-encoding", "upgrade", "user-agent", "via",
    }
)  # fmt: skip
_TAKEN_PREFIXES = ("sec-", "proxy-", "access-control-", "x-forwarded-")
_HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?", re.ASCII)


def check(settings: Settings) -> list[Finding]:
    """Returns all findings about settings whose single values are valid."""
    return [*judged(settings, _check), *check_several(settings), *check_dpop(settings)]


def _check(settings: Settings) -> list[Finding]:
    """Returns those about the only provider, and all that does not depend on the provider."""
    return [
        *_server(settings.server),
        *_redis(settings),
        *_session(settings.session),
        *_refresh(settings),
        *check_provider(settings.provider),
        *_https(settings),
        *_routes(settings.route),
        *check_binding(settings),
        *check_step_up(settings.route, settings.provider.login_params),
        *_spa(settings),
        *_pages(settings),
        *check_forward_auth(settings.forward_auth),
        *check_minted(settings),
        *check_introspection(settings),
    ]


def _server(server: ServerSettings) -> Iterator[Finding]:
    yield from complaint_about("server.public_url", public_url_complaint(server.public_url))
    yield from complaint_about("server.base_path", base_path_complaint(server.base_path))
    if server.ops_port and server.ops_port == server.port:
        yield Finding(
            "server.ops_port",
            f"is the same port as server.port ({server.port})",
            "choose another one: metrics and health must not be reachable by browsers",
            needs=("server.port",),
        )
    if any(not _HOST_NAME.fullmatch(name) for name in server.ops_hosts):
        yield Finding(
            "server.ops_hosts",
            "holds a value that is no host name",
            'write names alone, without scheme and port, as ["bff", "bff.prod.svc"]',
        )
    if any(network.prefixlen == 0 for network in server.trusted_proxies):
        yield Finding(
            "server.trusted_proxies",
            "trusts every address: any client could claim to be another",
            "name the addresses of your reverse proxies",
        )


def _redis(settings: Settings) -> Iterator[Finding]:
    url = settings.redis.url.get_secret_value()
    yield from complaint_about("redis.url", redis_complaint(url))
    if settings.redis.wait_timeout >= settings.redis.timeout:
        yield Finding(
            "redis.wait_timeout",
            "is not shorter than redis.timeout: a sign-out that waits for replicas would be taken for lost",
            "make it a part of redis.timeout",
            needs=("redis.timeout",),
        )
    if url == "embedded" and settings.server.public_url.startswith("https://"):
        yield Finding(
            "redis.url",
            "is a private Redis that ends with the proxy: every restart signs everybody out",
            "run a Redis of its own and name it here",
            needs=("server.public_url",),
            warning=True,
        )


def _session(session: SessionSettings) -> Iterator[Finding]:
    yield from _keys([key.get_secret_value() for key in session.keys])
    if session.max_lifetime > MAX_LIFETIME and not session.allow_long_sessions:
        yield Finding(
            "session.max_lifetime",
            "is longer than 7 days",
            "shorten it, or set allow_long_sessions = true if you mean it",
            needs=("session.allow_long_sessions",),
        )
    if session.idle_timeout > session.max_lifetime:
        yield Finding(
            "session.idle_timeout",
            "is longer than session.max_lifetime, so it could never end a session",
            "make it shorter than max_lifetime",
            needs=("session.max_lifetime",),
        )
    if session.slide_interval >= session.idle_timeout:
        yield Finding(
            "session.slide_interval",
            "is not shorter than session.idle_timeout: sessions in use would end",
            "make it a small part of idle_timeout",
            needs=("session.idle_timeout",),
        )
    name = session.csrf_header.lower()
    if name in _SAFELISTED or name in _TAKEN or name.startswith(_TAKEN_PREFIXES):
        yield Finding(
            "session.csrf_header",
            "is a header that other sites can send or that means something else",
            'use a name of your own, like "X-CSRF", which other sites cannot send without asking',
        )


def _refresh(settings: Settings) -> Iterator[Finding]:
    if settings.refresh.timeout > settings.server.shutdown_timeout:
        yield Finding(
            "refresh.timeout",
            "is longer than server.shutdown_timeout: a stop could cut off a rotation, and lose its tokens",
            "make it shorter than shutdown_timeout",
            needs=("server.shutdown_timeout",),
            warning=True,
        )


def _keys(keys: list[str]) -> Iterator[Finding]:
    key, run = "session.keys", "run `bff keys generate` and use what it prints"
    if not keys:
        needs = ("session.keys_file",)
        yield Finding(
            key, "is missing: there would be nothing to sign with", f"{run}, or set keys_file", needs
        )
    earlier: set[str] = set()
    for number, text in enumerate(keys, start=1):
        which = f"key {number} of {len(keys)}"
        if text == EXAMPLE_KEY:
            yield Finding(key, f"{which} is the example's, which everybody knows", run)
            continue
        try:
            secret = parse_key(text).secret
        except ValueError as error:
            yield Finding(key, f"{which} {error}", run)
            continue
        if secret in earlier:
            yield Finding(key, f"{which} stands there twice", "remove one of them")
        earlier.add(secret)


def _https(settings: Settings) -> Iterator[Finding]:
    if not settings.server.public_url.startswith("https://"):
        return
    if settings.session.same_site != "strict":
        yield Finding(
            "session.same_site",
            'must be "strict" where server.public_url is https: other sites can bring a "lax" cookie along',
            'remove the line, or write "strict"',
            needs=("server.public_url",),
        )
    for name in PROVIDER_URLS:
        if (getattr(settings.provider, name) or "").startswith("http://"):
            yield Finding(
                f"provider.{name}",
                "is plain http while server.public_url is https",
                "use https for both",
                needs=("server.public_url",),
            )
    if settings.provider.issuer.startswith("http://"):
        yield Finding(
            "provider.issuer",
            "is plain http while server.public_url is https",
            "use https for both",
            needs=("server.public_url",),
        )


def _routes(routes: tuple[RouteSettings, ...]) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for index, route in enumerate(routes):
        at = f"route[{index}]"
        yield from complaint_about(f"{at}.path", route_path_complaint(route.path))
        yield from complaint_about(f"{at}.upstream", upstream_complaint(route.upstream))
        yield from _upstream_tls(route, at)
        earlier = first.setdefault(route.path, index)
        if earlier != index:
            yield Finding(
                f"{at}.path",
                f'is the same as that of route[{earlier}], "{route.path}"',
                "join the two, or give one a longer path: the longest match wins",
                needs=(f"route[{earlier}].path",),
            )
        if not route.methods:
            yield Finding(
                f"{at}.methods", "is empty: nothing could pass", "name the methods, or remove the line"
            )
        yield from check_token(route, at)
        yield from check_access(route, at)
        yield from check_passing(route, at)
        if taken := {"TRACE", "CONNECT"} & set(route.methods):
            yield Finding(
                f"{at}.methods", f"allows {', '.join(sorted(taken))}", "remove it: it is never forwarded"
            )
        if route.csrf == "navigation" and not {"GET", "HEAD"} & set(route.methods):
            yield Finding(
                f"{at}.csrf",
                'is "navigation", which only concerns GET and HEAD, and methods has neither',
                "remove the line, or allow GET",
                needs=(f"{at}.methods",),
            )


def _upstream_tls(route: RouteSettings, at: str) -> Iterator[Finding]:
    """The TLS settings of a backend: its certificate and ours."""
    if route.server_name is not None:
        yield from complaint_about(f"{at}.server_name", host_complaint(route.server_name))
    if route.client_key_file is not None and route.client_cert_file is None:
        yield Finding(
            f"{at}.client_key_file",
            "is set without client_cert_file, whose key it is",
            "name the certificate too; key and certificate may also stand in one file",
        )
    if route.upstream.startswith("https://"):
        return
    for key in ("ca_file", "client_cert_file", "client_key_file", "server_name"):
        if getattr(route, key) is not None:
            yield Finding(
                f"{at}.{key}",
                "means nothing to an upstream that is not https",
                "remove the line, or write the upstream as https://…",
                needs=(f"{at}.upstream",),
            )


def _spa(settings: Settings) -> Iterator[Finding]:
    spa = settings.spa
    if spa.dir is not None and spa.url is not None:
        yield Finding("spa.url", "is set beside spa.dir", "keep one of the two", needs=("spa.dir",))
    if spa.url is not None:
        yield from complaint_about("spa.url", spa_url_complaint(spa.url))
    if not spa.index or "/" in spa.index or "\\" in spa.index or spa.index in {".", ".."}:
        yield Finding("spa.index", "is not a plain file name", 'write it like "index.html"')
    for key, items in (("spa.immutable", spa.immutable or ()), ("spa.public", spa.public)):
        if wrong := [item for item in items if not item.startswith("/") or item == "/"]:
            yield Finding(
                key,
                f"holds values that are no folder and no pattern of paths: {', '.join(map(repr, wrong))}",
                'write it like "/assets/" or "/main-*.js"',
            )
    if spa.auth == "required" and spa.dir is None:
        yield Finding(
            "spa.auth",
            "guards the files of spa.dir, and there is none",
            "set spa.dir, or take the line out: a development server shows its page to everybody",
            needs=("spa.dir",),
        )
    elif spa.auth == "required" and not _is_public(settings, settings.provider.post_logout_path):
        yield Finding(
            "spa.auth",
            "sends whoever has signed out to sign in again: provider.post_logout_path needs a session, too",
            'let it lead to a file of spa.public, like "/goodbye.html"',
            needs=("spa.public", "provider.post_logout_path"),
            warning=True,
        )


def _is_public(settings: Settings, address: str) -> bool:
    """Return True if the page at an address of this origin needs no session."""
    path = re.split(r"[?#]", address, maxsplit=1)[0].removeprefix(settings.server.base_path)
    return any(fnmatchcase(path, f"{item}*" if item.endswith("/") else item) for item in settings.spa.public)


def _pages(settings: Settings) -> Iterator[Finding]:
    yield from _page("provider.post_logout_path", settings.provider.post_logout_path, settings)
    if settings.spa.error_page is not None:
        yield from _page("spa.error_page", settings.spa.error_page, settings)


def _page(key: str, path: str, settings: Settings) -> Iterator[Finding]:
    complaint = local_path_complaint(path)
    yield from complaint_about(key, complaint)
    for index, route in enumerate(settings.route):
        if complaint is None and route_path_complaint(route.path) is None and under(path, route.path):
            yield Finding(
                key,
                f'lies under the route "{route.path}", where a backend is and no page',
                "choose a path of the page",
                needs=(f"route[{index}].path",),
            )
