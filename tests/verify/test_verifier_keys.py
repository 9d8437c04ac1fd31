"""The issuer's keys: fetched rarely, followed, kept through an outage."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
import respx
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, RSAKey

from bff.verify.fetch import MAX_DOCUMENT, Fetcher, FetchError
from bff.verify.keys import IssuerKeys, KeysUnavailableError, read_keys
from tests.support.processes.redis import RedisServer
from tests.support.providers.issuer import running_issuer
from tests.verify.tokens import ISSUER, KEY, Documents


@pytest.mark.requirement("J-03")
def test_weak_and_foreign_keys_are_left_out() -> None:
    """RSA below 2048 bits, encryption keys, secrets and nonsense are not taken; the rest is."""
    with pytest.warns(SecurityWarning):
        weak = RSAKey.generate_key(1024, {"kid": "weak"}).as_dict(private=False)
    good = KEY.as_dict(private=False)
    entries = [
        weak,
        {**good, "use": "enc", "kid": "enc"},
        {"kty": "oct", "k": "AAAA", "kid": "oct"},
        5,
        {},
        good,
    ]
    assert ["one"] == list(read_keys({"keys": entries})[0])
    assert ({}, ()) == read_keys({"keys": "none"})


def test_null_members_and_padding_spoil_no_key() -> None:
    """What says nothing counts as absent; what is dropped is told, with the reason."""
    good = KEY.as_dict(private=False)
    nulls = dict.fromkeys(("alg", "use", "key_ops", "x5c"))
    padded = {"x": f"{good['x']}=", "use": ""}
    for changes in (nulls, padded):
        assert ["one"] == list(read_keys({"keys": [good | changes]})[0])
    assert [""] == list(read_keys({"keys": [good | {"kid": None}]})[0])
    assert ("key 1 (one) is for another use",) == read_keys({"keys": [good | {"use": "enc"}]})[1]


@pytest.mark.requirement("J-09")
async def test_unknown_keys_cost_one_fetch_per_cooldown() -> None:
    """Tokens with invented keys do not make the verifier hammer the issuer; a new key is found afterwards."""
    documents = Documents(KEY)
    keys = IssuerKeys(ISSUER, documents.get, jwks_uri="jwks", cooldown=10)
    assert await keys.find("one", 0) is not None
    for moment in (1.0, 2.0, 9.0):
        assert await keys.find("two", moment) is None
    assert 1 == len(documents.asked)
    documents.keys.append(ECKey.generate_key("P-256", {"kid": "two"}))
    assert await keys.find("two", 11) is not None
    assert 2 == len(documents.asked)


@pytest.mark.requirement("J-09")
async def test_known_keys_serve_through_an_outage_but_not_for_ever() -> None:
    """While the issuer is down the keys at hand work, until they are too old."""
    documents = Documents(KEY)
    keys = IssuerKeys(ISSUER, documents.get, cooldown=10, fresh=60, stale=1000)
    assert await keys.find("one", 0) is not None
    documents.down = True
    assert await keys.find("one", 500) is not None
    with pytest.raises(KeysUnavailableError):
        await keys.find("one", 1001)
    documents.down = False
    assert await keys.find("one", 1012) is not None


async def test_metadata_of_somebody_else_are_not_followed() -> None:
    """A document whose issuer differs leads to no keys."""

    async def get(url: str) -> Mapping[str, Any]:
        return {"issuer": "https://evil.example", "jwks_uri": url}

    with pytest.raises(KeysUnavailableError):
        await IssuerKeys(ISSUER, get).find("one", 0)


async def test_fetching_fails_in_one_way(redis_server: RedisServer) -> None:
    """404, pages instead of JSON and closed ports are all FetchError."""
    fetcher = Fetcher()
    with running_issuer(redis_server.url) as issuer:
        for url in (f"{issuer.url}/nothing", f"{issuer.url}/end-session", "http://127.0.0.1:1/", "nonsense"):
            with pytest.raises(FetchError):
                await fetcher.get(url)
    await fetcher.close()


@pytest.mark.requirement("J-09")
async def test_nobody_waits_for_an_issuer_that_hangs() -> None:
    """With keys at hand a call goes on while the fetch hangs; whoever gives up does not end the fetch."""
    documents, release = Documents(KEY), asyncio.Event()

    async def slow(url: str) -> Mapping[str, Any]:
        await release.wait()
        return await documents.get(url)

    keys = IssuerKeys(ISSUER, slow, jwks_uri="jwks", cooldown=10, fresh=60)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await keys.find("one", 0)
    release.set()
    assert await keys.find("one", 1) is not None
    assert 1 == len(documents.asked)
    release.clear()
    async with asyncio.timeout(60):
        assert await keys.find("one", 100) is not None
    release.set()
    await keys.settled()
    assert 2 == len(documents.asked)


@pytest.mark.requirement("J-09")
async def test_a_crowd_causes_one_fetch() -> None:
    """A hundred at the start wait for the same documents."""
    documents = Documents(KEY)
    keys = IssuerKeys(ISSUER, documents.get)
    found = await asyncio.gather(*(keys.find("one", 0) for _ in range(100)))
    assert 100 == sum(key is not None for key in found)
    assert 2 == len(documents.asked)


def test_a_key_set_without_end_is_cut() -> None:
    """A hundred keys are read, not more."""
    key = KEY.as_dict(private=False)
    entries = [{**key, "kid": str(number)} for number in range(150)]
    assert 100 == len(read_keys({"keys": entries})[0])


@pytest.mark.requirement("J-09")
async def test_what_an_issuer_answers_is_bounded() -> None:
    """A document that is too long, or no object, is no document; redirects are not followed."""
    fetcher = Fetcher()
    with respx.mock() as router:
        answers: tuple[dict[str, Any], ...] = (
            {"content": b" " * (MAX_DOCUMENT + 1)},
            {"json": []},
            {"status_code": 302, "headers": {"Location": "https://evil.example/"}},
        )
        for answer in answers:
            router.get(f"{ISSUER}/jwks").respond(**answer)
            with pytest.raises(FetchError):
                await fetcher.get(f"{ISSUER}/jwks")
    await fetcher.close()
