"""Back-channel logout: who is told that a sign-in ended, how often, and by whom."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qs

import pytest
from joserfc import jws
from joserfc.jwk import KeySet
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bff.embedded import free_port
from bff.issuer.logout import logout_queue as logouts
from bff.issuer.logout.backchannel import AT_ONCE
from bff.issuer.logout.logout_queue import DELAYS, LEASE, LogoutJob, LogoutQueue
from bff.issuer.logout.termination import Termination
from bff.issuer.settings import ClientSettings
from bff.issuer.store.redis import IssuerRedis
from bff.issuer.store.store import Store
from tests.issuer.flow import REDIRECT_URI, Person, payload_of
from tests.support.processes.redis import RedisServer
from tests.support.providers.issuer import BOB, CLIENT_ID, RunningIssuer, ServedApp, running_issuer
from tests.support.wait import until

OTHER = ("other", "a-secret")
EVENT = "http://schemas.openid.net/event/backchannel-logout"


@dataclass
class Told:
    """What clients were sent: path and token; and what they answer."""

    url: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    silent: str = ""  # a path that gives no answer

    def by(self, path: str) -> list[str]:
        return [token for called, token in self.calls if called == path]


@pytest.fixture
def told() -> Iterator[Told]:
    """Two clients' back-channel endpoints, `/main` and `/other`."""
    port = free_port()
    told = Told(f"http://127.0.0.1:{port}")

    async def endpoint(request: Request) -> Response:
        (token,) = parse_qs((await request.body()).decode())["logout_token"]
        told.calls.append((request.url.path, token))
        while told.silent == request.url.path:  # noqa: ASYNC110 - let go by another thread
            await asyncio.sleep(0.01)
        return Response(status_code=told.answers.pop(0) if told.answers else 200)

    routes = [Route(path, endpoint, methods=["POST"]) for path in ("/main", "/other")]
    served = ServedApp(Starlette(routes=routes), port)
    served.start()
    yield told
    told.silent = ""
    served.stop()


@pytest.fixture(name="issuer")
def _issuer(redis_server: RedisServer, told: Told) -> Iterator[RunningIssuer]:
    other = ClientSettings(
        client_id=OTHER[0],
        client_secret=SecretStr(OTHER[1]),
        redirect_uris=(REDIRECT_URI,),
        backchannel_logout_uri=f"{told.url}/other",
    )
    with running_issuer(
        redis_server.url, (REDIRECT_URI,), backchannel_logout_uri=f"{told.url}/main", clients=(other,)
    ) as running:
        yield running


def sign_out(person: Person, id_token: str) -> None:
    answer = person.http.get(f"{person.issuer.url}/end-session", params={"id_token_hint": id_token})
    assert "Signed out" in answer.text


async def test_a_sign_out_is_told_by_sid(person: Person, told: Told) -> None:
    """A signed `logout+jwt` for the client, with sub, sid, a short life, and no nonce."""
    id_token = person.tokens()["id_token"]
    sign_out(person, id_token)
    await until(lambda: bool(told.calls))
    ((path, token),) = told.calls
    keys = KeySet.import_key_set(person.http.get(f"{person.issuer.url}/jwks").json())
    signed = jws.deserialize_compact(token, keys, ["ES256"])
    assert ("/main", "logout+jwt") == (path, signed.headers()["typ"])
    claims, hint = payload_of(token), payload_of(id_token)
    assert {"iss", "aud", "iat", "exp", "jti", "sub", "sid", "events"} == claims.keys()
    assert [hint[name] for name in ("iss", "aud", "sub", "sid")] == [
        claims[name] for name in ("iss", "aud", "sub", "sid")
    ]
    assert {EVENT: {}} == claims["events"]
    assert claims["exp"] - claims["iat"] <= 120


async def test_each_client_of_the_sign_in_is_told_and_nobody_else(
    person: Person, issuer: RunningIssuer, told: Told
) -> None:
    """Two clients of one sign-in are told; of another person's sign-in only the client that had it is."""
    with Person(issuer) as bob:
        bob.tokens(BOB)
        id_token = person.tokens()["id_token"]
        code = person.code(client_id=OTHER[0])
        assert 200 == person.token(person.code_form(code), OTHER).status_code
        sign_out(person, id_token)
        await until(lambda: len(told.calls) == 2)
        assert {"/main", "/other"} == {path for path, _ in told.calls}
        assert {payload_of(id_token)["sid"]} == {payload_of(token)["sid"] for _, token in told.calls}
        told.calls.clear()
        sign_out(bob, bob.tokens(BOB)["id_token"])
        await until(lambda: bool(told.by("/main")))
        assert [] == told.by("/other")


async def test_a_client_that_is_down_is_told_later(person: Person, told: Told) -> None:
    """503 is repeated with a new token; the other client does not wait for it; success ends it."""
    told.answers = [503]
    sign_out(person, person.tokens()["id_token"])
    await until(lambda: len(told.calls) == 2)
    first, second = told.by("/main")
    assert payload_of(first)["jti"] != payload_of(second)["jti"]


async def test_a_client_that_gives_no_answer_holds_up_nobody_else(
    issuer: RunningIssuer, told: Told, redis_server: RedisServer
) -> None:
    """Many ends at a client that takes calls and is silent, then one at another, which is told at once."""
    told.silent = "/main"
    with redis_server.client() as client, client.pipeline() as pipe:
        jobs, now = LogoutQueue(IssuerRedis(client, issuer.settings.prefix)), time.time()
        for number in range(4 * AT_ONCE):
            jobs.add(pipe, CLIENT_ID, "alice", f"s{number}", now - 10)
        jobs.add(pipe, OTHER[0], "alice", "the-last", now)
        pipe.execute()
        await until(lambda: bool(told.by("/other")))
        assert len(told.by("/main")) <= AT_ONCE
        told.silent = ""
        await until(lambda: len({payload_of(token)["sid"] for token in told.by("/main")}) == 4 * AT_ONCE)
        await until(lambda: not client.exists("issuer:logouts"))


async def test_an_outage_of_redis_loses_no_word(
    person: Person, told: Told, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client is told although Redis went away while it was being told."""
    monkeypatch.setattr(logouts, "LEASE", 1.0)
    told.answers = [503]
    sign_out(person, person.tokens()["id_token"])
    await until(lambda: len(told.calls) == 1)
    redis_server.stop()
    redis_server.start()
    await until(lambda: len(told.calls) >= 2, 60)


async def test_a_refusal_is_not_repeated(person: Person, told: Told, redis_server: RedisServer) -> None:
    """400 means that repeating it would not help: the job is gone."""
    told.answers = [400]
    sign_out(person, person.tokens()["id_token"])
    with redis_server.client() as client:
        await until(lambda: bool(told.calls) and not client.exists("issuer:logouts"))
        assert [] == client.keys("issuer:logout:*")
    assert 1 == len(told.calls)


async def test_reuse_is_told_too(person: Person, told: Told) -> None:
    """The client whose refresh token was used twice learns that the sign-in is over."""
    token = person.tokens()["refresh_token"]
    person.refresh(token)
    person.refresh(token)
    await until(lambda: bool(told.calls))


@pytest.mark.requirement("J-07")
@pytest.mark.parametrize("knows_clients", [True, False])
async def test_another_process_can_end_a_sign_in(
    person: Person, issuer: RunningIssuer, told: Told, redis_server: RedisServer, knows_clients: bool
) -> None:
    """Whoever ends it leaves a job, which an issuer that serves carries out: now, or when it starts again.

    (A command that has not the issuer's settings does not know its clients.)
    """
    sid = payload_of(person.tokens()["id_token"])["sid"]
    issuer.stop()
    with redis_server.client() as client:
        clients = issuer.settings.clients if knows_clients else ()
        endings = Termination(Store.on(IssuerRedis(client, "issuer")), clients)
        ended = endings.end_sign_in(sid, "lost_device")
    assert ("alice", (CLIENT_ID,), 1) == (ended.sub, ended.clients, ended.families)
    issuer.start()
    await until(lambda: bool(told.calls))


def test_a_job_is_lent_and_given_up_in_the_end(redis_server: RedisServer) -> None:
    """One takes it at a time; who does not come back loses it; after the last delay it is over."""
    with redis_server.client() as client:
        jobs, now = LogoutQueue(IssuerRedis(client, "issuer")), time.time()
        with client.pipeline() as pipe:
            jobs.add(pipe, "c", "alice", "s", now)
            pipe.execute()
        job = jobs.take(now)
        assert job is not None
        assert ("c", "alice", "s", 1) == (job.client_id, job.sub, job.sid, job.attempt)
        assert jobs.take(now + LEASE - 1) is None
        again = jobs.take(now + LEASE)
        assert again == LogoutJob(job.name, "c", "alice", "s", 2)
        moment = now + LEASE
        for delay in DELAYS[1:]:
            assert again is not None
            assert jobs.again(again, moment)
            assert jobs.take(moment + delay - 0.1) is None
            moment += delay
            again = jobs.take(moment)
        assert again is not None
        assert not jobs.again(again, moment)
        assert (None, []) == (jobs.take(moment + 1e6), client.keys("*"))


def test_a_job_whose_words_are_gone_is_dropped(redis_server: RedisServer) -> None:
    """A queue entry without its hash (an hour later) does not come up again."""
    with redis_server.client() as client:
        client.zadd("issuer:logouts", {"old": 1})
        assert LogoutQueue(IssuerRedis(client, "issuer")).take(time.time()) is None
        assert [] == client.keys("*")
