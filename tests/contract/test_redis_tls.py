"""TLS to a real server that asks for a client certificate, with an authority of its own."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from bff.embedded import EmbeddedRedisError, RedisBinary, find_redis, free_port
from bff.errors import StoreUnavailableError
from bff.observe.metrics import Metrics
from bff.serve.redis_check import look_at_redis
from bff.session.invalidation_feed import InvalidationFeed
from bff.session.store import SessionStore
from bff.settings.model import RedisSettings
from tests.support.network.tls import Certificate, self_signed
from tests.support.processes.redis import redis_server as running_server
from tests.support.settings import redis_settings
from tests.support.wait import until

pytestmark = pytest.mark.requirement("S-13")


@pytest.fixture
def own(tmp_path: Path) -> Certificate:
    """The proxy's certificate."""
    return self_signed(tmp_path, "proxy")


@pytest.fixture
def server(tmp_path: Path) -> Certificate:
    return self_signed(tmp_path)


@pytest.fixture
def port(own: Certificate, server: Certificate) -> Iterator[int]:
    """The TLS port of a server that takes the proxy's certificate alone."""
    port, found = free_port(), find_redis()
    options = (
        *("--tls-port", str(port), "--tls-auth-clients", "yes", "--tls-ca-cert-file", str(own.cert)),
        *("--tls-cert-file", str(server.cert), "--tls-key-file", str(server.key)),
    )
    binary: RedisBinary = replace(found, command=(*found.command, *options))
    with ExitStack() as stack:
        try:
            stack.enter_context(running_server(binary=binary))
        except EmbeddedRedisError as failure:
            if "tls-" in str(failure):
                pytest.skip("this server was built without TLS")
            raise
        yield port


def settings_for(port: int, **files: Path) -> RedisSettings:
    query = "&".join(f"{name}={path}" for name, path in files.items())
    return redis_settings(f"rediss://127.0.0.1:{port}/0?{query}")


async def test_both_sides_show_a_certificate(port: int, own: Certificate, server: Certificate) -> None:
    """Commands, reads and the feed of changes go by it; so does `bff check`."""
    settings = settings_for(port, ssl_ca_certs=server.cert, ssl_certfile=own.cert, ssl_keyfile=own.key)
    store = SessionStore(settings, Metrics())
    feed = InvalidationFeed(settings, prefix=store.watched, notes=store.watched_notes)
    await feed.start()
    assert await store.one_time.claim("code", "1", lifetime=60)
    assert None is await store.load("k")
    await until(lambda: feed.trusted)
    await feed.aclose()
    await store.aclose()
    assert all(check.ok and not check.fix for check in await look_at_redis(settings))


@pytest.mark.parametrize("missing", ["ssl_ca_certs", "ssl_certfile"])
async def test_one_side_shows_none_that_is_good(
    port: int, own: Certificate, server: Certificate, missing: str
) -> None:
    """An unknown authority, or no certificate of ours: 503 for calls, and `bff check` says that it fails."""
    files = {"ssl_ca_certs": server.cert, "ssl_certfile": own.cert, "ssl_keyfile": own.key}
    files |= {"ssl_ca_certs": own.cert} if missing == "ssl_ca_certs" else {}
    if missing == "ssl_certfile":
        del files["ssl_certfile"], files["ssl_keyfile"]
    settings = settings_for(port, **files)
    store = SessionStore(settings, Metrics())
    with pytest.raises(StoreUnavailableError):
        await store.load("k")
    with pytest.raises(StoreUnavailableError):
        await store.one_time.claim("code", "1", lifetime=60)
    await store.aclose()
    assert [False] == [check.ok for check in await look_at_redis(settings)]
