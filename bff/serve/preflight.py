"""Checks that the servers named in the settings are usable: Redis, the providers, each backend and page.

Rule 1: nothing is left behind: the one key that is written has our prefix and a TTL, and goes at once.
Rule 2: no result holds a secret: Redis is named by its host, never by its URL.
"""

import asyncio
import ssl
import time
from collections.abc import Awaitable

from bff.errors import ProviderUnavailableError
from bff.oidc.http import ProviderHttp
from bff.oidc.metadata import KeySet, MetadataRejectedError, parse_jwks, parse_metadata
from bff.oidc.provider_documents import document_url, endpoint_overrides
from bff.policy.certificate_fault import certificate_fault
from bff.policy.connection_fault import connection_fault
from bff.policy.routes import Upstream
from bff.serve.check_plan import BackendLook, ProviderLook, backend_looks, provider_looks
from bff.serve.check_result import Check
from bff.serve.provider_capabilities import read_offers
from bff.serve.provider_client_check import probe_clients
from bff.serve.provider_clock_check import compare_clocks
from bff.serve.redis_check import look_at_redis, look_at_revocations
from bff.settings.frontends import frontends_of
from bff.settings.model import Settings
from bff.settings.redis_urls import redis_target
from bff.upstream.connector import TlsNames, client_tls

_FOUND = 200
_REDIRECTS = range(300, 400)
_ITS_OWN_FAULT = range(500, 600)
_SHOWN = 5  # keys of which it is said why they are not used
DEADLINE = 15.0
"""Seconds after which a check is given up, in spite of longer settings."""


async def preflight(settings: Settings) -> list[Check]:
    """Makes all checks at once; takes no longer than `DEADLINE`."""
    redis = settings.redis
    results = await asyncio.gather(
        _bounded("redis", redis_target(redis.url.get_secret_value()), look_at_redis(redis)),
        _bounded("route revocations", "Redis", look_at_revocations(settings)),
        *(_bounded("provider", look.provider.issuer, _provider(look)) for look in provider_looks(settings)),
        *(_bounded(_name(look), _target(look.upstream), _backend(look)) for look in backend_looks(settings)),
    )
    return [*_proxies(settings), *(check for checks in results for check in checks)]


def _proxies(settings: Settings) -> list[Check]:
    """An https address means that a reverse proxy ends TLS: it should be named."""
    urls = [each.settings.server.public_url for each in frontends_of(settings)]
    secure = [url for url in urls if url.startswith("https://")]
    if not secure or settings.server.trusted_proxies:
        return []
    detail = "public_url is https and trusted_proxies is empty: X-Forwarded-For of your proxy is ignored"
    fix = "name the proxy in server.trusted_proxies: else all clients share one address and its limits"
    return [Check("server proxies", secure[0], True, detail, fix)]


async def _bounded(name: str, target: str, look: Awaitable[list[Check]]) -> list[Check]:
    try:
        async with asyncio.timeout(DEADLINE):
            return await look
    except TimeoutError:
        return [Check(name, target, False, f"no answer within {DEADLINE:g} s", "see whether it hangs")]


async def _provider(look: ProviderLook) -> list[Check]:
    settings = look.provider
    wire, url = ProviderHttp.of(settings), document_url(settings)
    try:
        answer = await wire.get(url)
        if answer.status != _FOUND:
            detail = f"its discovery document answered {answer.status}"
            if answer.status in _REDIRECTS:
                detail += ", a redirect, which is not followed"
            fix = "correct provider.issuer or provider.discovery_url"
            if answer.status in _ITS_OWN_FAULT:
                fix = "see whether the provider runs; its log, or that of a server in front of it, says why"
            return [Check("provider", url, False, detail, fix)]
        document = answer.json()
        metadata = parse_metadata(document, settings.issuer, endpoint_overrides(settings))
        checks = [Check("provider", settings.issuer, True, "its discovery document is usable")]
        checks += compare_clocks(answer.headers, settings, time.time())
        checks += [
            Check(
                "provider endpoint",
                settings.issuer,
                True,
                f"{name} is no https URL, and counts as absent",
                f"correct it at the provider, or set provider.{name}",
            )
            for name in metadata.ignored
        ]
        checks += read_offers(document, settings, look.routes)
        checks += await probe_clients(wire, settings, metadata, look.clients)
        checks += _keys(metadata.jwks_uri, parse_jwks((await wire.get(metadata.jwks_uri)).json()))
    except ProviderUnavailableError as error:
        fix = "see whether it runs, and whether this machine reaches it"
        if "certificate" in str(error):
            fix = "renew it there, or name its authority in provider.ca_file"
        return [Check("provider", url, False, str(error), fix)]
    except MetadataRejectedError as error:
        return [Check("provider", url, False, str(error), "correct provider.issuer, or the provider")]
    finally:
        await wire.aclose()
    return checks


def _keys(url: str, found: KeySet) -> list[Check]:
    fix = "" if found.keys else "see jwks_uri of the discovery document"
    dropped = f"; not used: {', '.join(found.dropped[:_SHOWN])}" if found.dropped else ""
    return [Check("provider keys", url, bool(found.keys), f"{len(found.keys)} usable{dropped}", fix)]


def _target(upstream: Upstream) -> str:
    if upstream.socket is not None:
        return upstream.name
    return f"{upstream.scheme}://{upstream.host_header.decode()}"


async def _backend(look: BackendLook) -> list[Check]:
    upstream, route = look.upstream, look.route
    try:
        tls = client_tls(TlsNames.of(route)) if upstream.scheme == "https" else None
        async with asyncio.timeout(min(route.connect_timeout, DEADLINE)):
            writer = await _connect(upstream, tls, route.server_name)
    except TimeoutError:
        return [_unreachable(look, "does not accept a connection in time")]
    except ssl.SSLCertVerificationError as error:
        fix = "renew it there, or name its authority in route.ca_file"
        return [_unreachable(look, f"its certificate is refused: {certificate_fault(error)}", fix)]
    except (OSError, ssl.SSLError) as error:
        return [_unreachable(look, f"cannot be reached: {connection_fault(error) or type(error).__name__}")]
    writer.transport.abort()
    detail = "connected" if tls is None else "connected, certificate good"
    return [Check(_name(look), _target(upstream), True, detail, frontend=look.frontend)]


def _name(look: BackendLook) -> str:
    return "page" if look.is_page else "upstream"


async def _connect(
    upstream: Upstream, tls: ssl.SSLContext | None, server_name: str | None
) -> asyncio.StreamWriter:
    if upstream.socket is not None:
        return (await asyncio.open_unix_connection(upstream.socket))[1]
    name = server_name or upstream.host if tls is not None else None
    return (await asyncio.open_connection(upstream.host, upstream.port, ssl=tls, server_hostname=name))[1]


def _unreachable(look: BackendLook, detail: str, fix: str | None = None) -> Check:
    setting = "spa.url" if look.is_page else "route.upstream"
    fix = fix or f"see whether it runs, and correct {setting}"
    # A development server may be started later.
    return Check(_name(look), _target(look.upstream), look.is_page, detail, fix, look.frontend)
