"""Revoked tokens: by `jti`, by `sid`, by the issuer's word; a token that was good before as well."""

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
import redis
import respx
from pydantic import SecretStr

from bff.issuer.client_settings import ClientSettings
from bff.verify import (
    BearerAuth,
    Claims,
    Introspection,
    OwnRevocations,
    RedisRevocations,
    Refusal,
    TokenRefusedError,
    TokenVerifier,
)
from tests.issuer.flow import CREDENTIALS, Person
from tests.support.processes.redis import RedisServer
from tests.support.providers.issuer import AUDIENCE, running_issuer
from tests.support.settings import PATIENCE
from tests.verify.tokens import KEY, NOW, Documents, refusal_of, token, verifier

ENDPOINT = "https://id.example.com/introspect"


class Asked:
    """A list of one's own, and who was asked for."""

    def __init__(self) -> None:
        self.revoked: set[str] = set()
        self.broken = False
        self.asked: list[str] = []

    async def __call__(self, claims: Claims) -> bool:
        self.asked.append(claims.jti)
        if self.broken:
            raise ConnectionError
        return claims.jti in self.revoked


@pytest.fixture(name="introspected")
def _introspected() -> Iterator[respx.Route]:
    with respx.mock() as router:
        yield router.post(ENDPOINT).respond(json={"active": True})


def introspection(**options: Any) -> Introspection:
    return Introspection(ENDPOINT, client_id="orders", client_secret="s3cr3t", **options)


@pytest.mark.requirement("J-06", "J-12")
async def test_revocation_is_asked_last_and_believed() -> None:
    """A revoked jti is refused; a list that fails refuses with 503; a bad token does not reach it."""
    asked = Asked()
    asked.revoked.add("revoked")
    lists = [OwnRevocations(asked)]
    assert "fine" == (await verifier(revocations=lists).verify(token(jti="fine"))).jti
    assert Refusal.REVOKED == await refusal_of(token(jti="revoked"), revocations=lists)
    assert Refusal.EXPIRED == await refusal_of(token(jti="old", exp=NOW - 60), revocations=lists)
    asked.broken = True
    assert Refusal.UNAVAILABLE == await refusal_of(token(jti="broken"), revocations=lists)
    assert ["fine", "revoked", "broken"] == asked.asked


@pytest.mark.requirement("J-06")
async def test_a_service_may_choose_to_go_on_without_the_list() -> None:
    """`unknown="accept"`: a list that cannot be asked revokes nothing; one that says so still does."""
    asked = Asked()
    checks = verifier(revocations=[OwnRevocations(asked)], unknown="accept")
    asked.broken = True
    assert "the-jti" == (await checks.verify(token())).jti
    asked.broken, asked.revoked = False, {"the-jti"}
    with pytest.raises(TokenRefusedError, match="revoked"):
        await checks.verify(token())


@pytest.mark.requirement("J-06", "J-12")
@pytest.mark.parametrize("mark", ["jti:the-jti", "sid:the-sid"])
async def test_a_mark_in_redis_ends_a_token_that_was_good_before(
    redis_server: RedisServer, mark: str
) -> None:
    """By `jti` and by `sid`, at the next request, the signature having been checked long ago; others stay."""
    async with verifier(revocations=[RedisRevocations(redis_server.url, timeout=PATIENCE)]) as checks:
        other = token(jti="another", sid="another")
        for _ in range(2):
            assert "the-jti" == (await checks.verify(token_once)).jti
        assert "another" == (await checks.verify(other)).jti
        with redis.Redis.from_url(redis_server.url) as client:
            client.set(f"issuer:revoked:{mark}", "logout", ex=60)
        with pytest.raises(TokenRefusedError, match="revoked"):
            await checks.verify(token_once)
        assert "another" == (await checks.verify(other)).jti


token_once = token()


@pytest.mark.requirement("J-06")
async def test_without_redis_nobody_passes_until_it_is_back(redis_server: RedisServer) -> None:
    """503 with Retry-After and no challenge, for a token that was seen before as well; never 401."""
    checks = verifier(revocations=[RedisRevocations(redis_server.url, timeout=PATIENCE)])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    transport = httpx.ASGITransport(BearerAuth(app, checks))
    async with checks, httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        client.headers["Authorization"] = f"Bearer {token_once}"
        assert 204 == (await client.get("/")).status_code
        redis_server.stop()
        answer = await client.get("/")
        assert (503, "2") == (answer.status_code, answer.headers["retry-after"])
        assert "www-authenticate" not in answer.headers
        redis_server.start()
        assert 204 == (await client.get("/")).status_code


@pytest.mark.requirement("J-06")
async def test_a_delay_is_there_only_when_it_was_asked_for(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `fresh` a good answer holds for so long and no longer, and a bad one is never remembered."""
    steady = [1000.0]
    monkeypatch.setattr("bff.verify.revocation.time", SimpleNamespace(monotonic=lambda: steady[0]))
    async with verifier(
        revocations=[RedisRevocations(redis_server.url, timeout=PATIENCE, fresh=2)]
    ) as checks:
        await checks.verify(token_once)
        with redis.Redis.from_url(redis_server.url) as client:
            client.set("issuer:revoked:jti:the-jti", "lost", ex=60)
            steady[0] = 1001.9
            await checks.verify(token_once)
            steady[0] = 1002.0
            with pytest.raises(TokenRefusedError, match="revoked"):
                await checks.verify(token_once)
            client.delete("issuer:revoked:jti:the-jti")
        assert "the-jti" == (await checks.verify(token_once)).jti


@pytest.mark.requirement("J-06")
async def test_the_issuer_can_be_asked_itself(introspected: respx.Route) -> None:
    """RFC 7662: the token goes by POST, authenticated; `active` decides."""
    async with verifier(revocations=[introspection()]) as checks:
        assert "the-jti" == (await checks.verify(token_once)).jti
        sent = introspected.calls.last.request
        assert sent.headers["authorization"].startswith("Basic ")
        assert {"token": [token_once], "token_type_hint": ["access_token"]} == parse_qs(sent.content.decode())
        introspected.respond(json={"active": False})
        with pytest.raises(TokenRefusedError, match="revoked"):
            await checks.verify(token_once)


@pytest.mark.parametrize(
    "answer",
    [
        {"status_code": 401},
        {"status_code": 500},
        {"status_code": 302, "headers": {"Location": "https://evil.example/"}},
        {"text": "no json"},
        {"json": []},
        {"json": {"active": "true"}},
        {"json": {}},
        {"content": json.dumps({"active": True, "x": "x" * 70_000}).encode()},
    ],
)
async def test_an_answer_that_says_nothing_is_no_permission(
    introspected: respx.Route, answer: dict[str, Any]
) -> None:
    """Errors, redirects and nonsense of the introspection endpoint are 503."""
    introspected.respond(**answer)
    assert Refusal.UNAVAILABLE == await refusal_of(token_once, revocations=[introspection()])


async def test_a_good_answer_of_the_issuer_holds_as_long_as_was_asked(introspected: respx.Route) -> None:
    """`fresh` spares the questions; `size` bounds what is remembered."""
    async with verifier(Documents(KEY), revocations=[introspection(fresh=60, size=1)]) as checks:
        other = token(jti="another")
        for text in (token_once, token_once, other, other, token_once):
            await checks.verify(text)
    assert 3 == introspected.call_count


@pytest.mark.requirement("J-06")
async def test_what_our_issuer_revokes_is_refused(redis_server: RedisServer) -> None:
    """By its marks in Redis and by its word: a revoked token is refused at once, another one is not."""
    service = ClientSettings(client_id="orders", client_secret=SecretStr("s3cr3t"), introspects=(AUDIENCE,))
    with running_issuer(redis_server.url, clients=[service]) as issuer, Person(issuer) as person:
        tokens = person.tokens()
        revoked = tokens["access_token"]
        other = person.refresh(tokens["refresh_token"]).json()["access_token"]
        marks = RedisRevocations(redis_server.url, timeout=PATIENCE)
        word = Introspection(f"{issuer.url}/introspect", client_id="orders", client_secret="s3cr3t")
        expected: dict[str, Any] = {"issuer": issuer.url, "audience": AUDIENCE}
        async with (
            TokenVerifier(**expected, revocations=[marks]) as by_marks,
            TokenVerifier(**expected, revocations=[word]) as by_word,
        ):
            for checks in (by_marks, by_word):
                assert "alice" == (await checks.verify(revoked)).sub
            form = {"token": revoked, "token_type_hint": "access_token"}
            assert 200 == person.http.post(f"{issuer.url}/revoke", data=form, auth=CREDENTIALS).status_code
            for checks in (by_marks, by_word):
                with pytest.raises(TokenRefusedError, match="revoked"):
                    await checks.verify(revoked)
                assert "alice" == (await checks.verify(other)).sub


@pytest.fixture(name="slow")
def _slow(monkeypatch: pytest.MonkeyPatch) -> "Slow":
    return Slow(monkeypatch)


class Slow:
    """Answers that are a second and a half on their way, by the clock that counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steady = 1000.0
        self.asked = 0
        clock = SimpleNamespace(monotonic=lambda: self.steady)
        monkeypatch.setattr("bff.verify.revocation.time", clock)

    def answer(self) -> None:
        self.asked += 1
        self.steady += 1.5

    async def holds_from_its_question(self, revocations: RedisRevocations | Introspection) -> None:
        async with verifier(revocations=[revocations]) as checks:
            for steady, asked in ((1000.0, 1), (1001.9, 1), (1002.0, 2)):
                self.steady = steady
                await checks.verify(token_once)
                assert asked == self.asked, steady


@pytest.mark.requirement("J-06")
async def test_a_mark_is_as_old_as_its_question(
    redis_server: RedisServer, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that was long on its way holds for what is left of `fresh`."""
    revocations = RedisRevocations(redis_server.url, timeout=PATIENCE, fresh=2)
    exists = revocations._redis.exists

    async def slow_exists(*names: str) -> int:
        slow.answer()
        return int(await exists(*names))

    monkeypatch.setattr(revocations._redis, "exists", slow_exists)
    await slow.holds_from_its_question(revocations)


@pytest.mark.requirement("J-06")
async def test_a_word_of_the_issuer_is_as_old_as_its_question(introspected: respx.Route, slow: Slow) -> None:
    """The same by introspection."""

    def answered(_: httpx.Request) -> httpx.Response:
        slow.answer()
        return httpx.Response(200, json={"active": True})

    introspected.mock(side_effect=answered)
    await slow.holds_from_its_question(introspection(fresh=2))
