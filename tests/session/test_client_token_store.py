"""The tokens in the proxy's own name, as processes of several versions find them in Redis."""

import json
from dataclasses import asdict

import pytest

from bff.crypto import Keyring
from bff.observe.metrics import Metrics
from bff.session.client_token_store import _BOUND, ClientTokenStore, _sealed_for
from bff.session.model import OwnToken
from bff.session.store import SessionStore
from tests.support.processes.redis import RedisServer
from tests.support.settings import KEY, redis_settings

TOKEN = OwnToken("access", 1.0, 2.0, proof_key="key")


@pytest.mark.parametrize("more", [{}, {"kind": "new"}])
async def test_a_token_of_a_later_version_is_none(redis_server: RedisServer, more: dict[str, str]) -> None:
    """One with fields that this version does not know: calls fetch a token of their own, and do not fail."""
    store, keyring = SessionStore(redis_settings(redis_server.url), Metrics()), Keyring([KEY])
    tokens = ClientTokenStore(store, keyring)
    try:
        assert await tokens.load("name") is None
        sealed = keyring.seal_record(_sealed_for("name"), json.dumps(asdict(TOKEN) | more).encode(), _BOUND)
        await store.client_tokens.set("name", sealed, lifetime=60)
        assert (None if more else TOKEN) == await tokens.load("name")
        await tokens.keep("name", TOKEN, lifetime=60)
        assert TOKEN == await tokens.load("name")
        assert await tokens.load("other") is None
    finally:
        await store.aclose()
