"""Clients that show who they are by a JWT of their own (RFC 7523), on real sockets."""

import asyncio
import gzip
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx
import pytest
from joserfc.jws import serialize_compact
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bff.crypto import encode
from bff.embedded import free_port
from bff.issuer.grants import client_keys
from bff.issuer.grants.client_keys import MOST_WAITING, ClientKeys
from bff.issuer.grants.clients import Client
from bff.issuer.grants.request_objects import TYPE
from bff.issuer.settings import ClientSettings
from tests.issuer.clients import KEY_CLIENT, assertion, form_of, jwks_of, new_key
from tests.issuer.flow import CREDENTIALS, REDIRECT_URI, Person
from tests.support.keys import rsa_key
from tests.support.processes.redis import RedisServer, redis_server
from tests.support.providers.issuer import RunningIssuer, ServedApp, running_issuer
from tests.support.settings import PATIENCE
from tests.support.wait import until

KEY = new_key()


@pytest.fixture(name="keyed", scope="module")
def _keyed() -> Iterator[RunningIssuer]:
    """One for all tests here: each assertion has a `jti` of its own."""
    client = ClientSettings(client_id=KEY_CLIENT, jwks=jwks_of(KEY), redirect_uris=(REDIRECT_URI,))
    with redis_server() as server, running_issuer(server.url, (REDIRECT_URI,), clients=(client,)) as running:
        yield running


def ask(issuer: RunningIssuer, form: dict[str, str], **more: Any) -> httpx.Response:
    """A token request with a code that does not exist: `invalid_grant` says that the client was believed."""
    body = {"grant_type": "authorization_code", "code": "invented", **form}
    return httpx.post(f"{issuer.url}/token", data=body, **more)


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


BELIEVED = (400, "invalid_grant")
REFUSED = (401, "invalid_client")


@pytest.mark.requirement("O-13")
def test_sign_in_with_a_key_instead_of_a_secret(keyed: RunningIssuer) -> None:
    """Code, tokens, refresh and revocation, each with an assertion of its own."""
    with Person(keyed) as person:
        code = person.code(client_id=KEY_CLIENT)

        def ask_for(path: str, form: dict[str, str]) -> httpx.Response:
            signed = form_of(assertion(KEY, keyed.url))
            return person.http.post(f"{keyed.url}{path}", data={**form, **signed})

        tokens = ask_for("/token", person.code_form(code)).json()
        form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
        renewed = ask_for("/token", form).json()["refresh_token"]
        assert 200 == ask_for("/revoke", {"token": renewed}).status_code
        assert BELIEVED == error_of(ask_for("/token", {**form, "refresh_token": renewed}))


@pytest.mark.parametrize("path", ["", "/token"])
def test_the_audience_may_be_issuer_or_endpoint(keyed: RunningIssuer, path: str) -> None:
    """The issuer's identifier and the endpoint's address are both taken, alone or as a list of one."""
    assert BELIEVED == error_of(ask(keyed, form_of(assertion(KEY, f"{keyed.url}{path}"))))
    assert BELIEVED == error_of(ask(keyed, form_of(assertion(KEY, [f"{keyed.url}{path}"]))))


def test_an_assertion_is_good_once(keyed: RunningIssuer) -> None:
    """Of many uses of one assertion one is believed."""
    form = form_of(assertion(KEY, keyed.url))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: error_of(ask(keyed, form)), range(16)))
    assert [BELIEVED, *[REFUSED] * 15] == sorted(answers)


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://other.example"},
        {"aud": None},
        {"aud": []},
        {"aud": 7},
        {"iss": "other"},
        {"sub": "other"},
        {"sub": None},
        {"sub": {"a": 1}},
        {"exp": None},
        {"exp": "soon"},
        {"exp": True},
        {"exp": 1},
        {"exp": 1e15},
        {"jti": None},
        {"jti": ""},
        {"jti": 5},
        {"jti": "x" * 300},
        {"nbf": 4e9},
        {"iat": 4e9},
        {"iat": "x"},
    ],
    ids=str,
)
def test_claims_that_are_refused(keyed: RunningIssuer, changes: dict[str, Any]) -> None:
    """Another audience, another issuer, no or a far end, no jti: 401, in words that repeat nothing."""
    answer = ask(keyed, form_of(assertion(KEY, **{"aud": keyed.url, **changes})))
    assert REFUSED == error_of(answer)


@pytest.mark.parametrize(
    ("header", "claims", "outcome"),
    [({}, {"jti": "\ud800"}, BELIEVED), ({}, {"sub": "\ud800"}, REFUSED), ({"kid": "\ud800"}, {}, REFUSED)],
)
def test_texts_that_have_no_utf8(
    keyed: RunningIssuer, header: dict[str, Any], claims: dict[str, Any], outcome: tuple[int, str]
) -> None:
    """JSON can spell a lone surrogate: nothing fails by one."""
    told = {"iss": KEY_CLIENT, "sub": KEY_CLIENT, "aud": keyed.url, "jti": "x", "exp": int(time.time()) + 60}
    signed = serialize_compact({"alg": "ES256", "kid": KEY.kid, **header}, json.dumps(told | claims), KEY)
    assert outcome == error_of(ask(keyed, form_of(signed)))


def test_two_audiences_are_one_too_many(keyed: RunningIssuer) -> None:
    """An assertion that is also for somebody else could come from there."""
    both = assertion(KEY, [keyed.url, "https://other.example"])
    assert REFUSED == error_of(ask(keyed, form_of(both)))


def test_a_long_life_is_refused(keyed: RunningIssuer) -> None:
    """An assertion lives five minutes at most."""
    now = int(time.time())
    assert BELIEVED == error_of(ask(keyed, form_of(assertion(KEY, keyed.url, exp=now + 290))))
    assert REFUSED == error_of(ask(keyed, form_of(assertion(KEY, keyed.url, exp=now + 600))))


@pytest.mark.requirement("J-03")
def test_only_the_clients_key_and_its_algorithms_count(keyed: RunningIssuer) -> None:
    """Another key of the same name, one in the header, `none` and HMAC by the public key are refused."""
    stranger = new_key()
    assert REFUSED == error_of(ask(keyed, form_of(assertion(stranger, keyed.url))))
    brought = {"jwk": stranger.as_dict(private=False)}
    assert REFUSED == error_of(ask(keyed, form_of(assertion(stranger, keyed.url, header=brought))))
    good = assertion(KEY, keyed.url)
    _, payload, _ = good.split(".")
    none = "eyJhbGciOiJub25lIn0"  # {"alg":"none"}
    assert REFUSED == error_of(ask(keyed, form_of(f"{none}.{payload}.")))
    header = encode(b'{"alg":"HS256","kid":"one"}')
    mac = hmac.digest(KEY.as_pem(private=False), f"{header}.{payload}".encode(), "sha256")
    assert REFUSED == error_of(ask(keyed, form_of(f"{header}.{payload}.{encode(mac)}")))
    assert BELIEVED == error_of(ask(keyed, form_of(good)))


@pytest.mark.parametrize(
    "text", ["", "x", "a.b.c", "....", "e30.e30.e30", "\x00.é.", "x" * 9000, "e30.W10.eA", "bnVsbA.e30.eA"]
)
def test_what_is_no_assertion_is_the_clients_fault(keyed: RunningIssuer, text: str) -> None:
    """Nonsense is 401, never an error of the issuer's."""
    assert REFUSED == error_of(ask(keyed, form_of(text)))


def test_one_way_at_a_time(keyed: RunningIssuer) -> None:
    """An assertion beside a secret is refused; another type too; a client with a key has no secret."""
    signed = form_of(assertion(KEY, keyed.url))
    assert (400, "invalid_request") == error_of(ask(keyed, {**signed, "client_secret": "x"}))
    assert (400, "invalid_request") == error_of(ask(keyed, signed, auth=CREDENTIALS))
    assert REFUSED == error_of(ask(keyed, {**signed, "client_assertion_type": "other"}))
    assert REFUSED == error_of(ask(keyed, {**signed, "client_id": "spa-bff"}))
    assert REFUSED == error_of(ask(keyed, {}, auth=(KEY_CLIENT, "x")))
    assert BELIEVED == error_of(ask(keyed, {**signed, "client_id": KEY_CLIENT}))


def test_keys_from_an_address_are_followed() -> None:
    """With `jwks_uri` a client changes its key by itself, and unknown keys cause few fetches."""
    keys, fetches = [new_key("one")], []

    async def answer(_: Request) -> Response:
        fetches.append(1)
        return JSONResponse(jwks_of(*keys))

    port = free_port()
    served = ServedApp(Starlette(routes=[Route("/keys", answer)]), port)
    served.start()
    client = ClientSettings(client_id=KEY_CLIENT, jwks_uri=f"http://127.0.0.1:{port}/keys")
    found = ClientKeys(cooldown=10)
    try:
        assert found.find(Client(client), "one", 100.0) is not None
        assert found.find(Client(client), "two", 105.0) is None
        assert 1 == len(fetches)
        keys[:] = [new_key("two")]
        assert found.find(Client(client), "two", 111.0) is not None
        assert found.find(Client(client), "one", 125.0) is None
        assert 3 == len(fetches)
        served.stop()
        assert found.find(Client(client), "two", 1000.0) is not None
        assert found.find(Client(client), "two", 111.0 + 25 * 3600) is None
    finally:
        served.stop()


async def test_keys_that_do_not_come_take_few_threads(redis_server: RedisServer) -> None:
    """Strangers who name a client whose address is silent do not use up the threads that everybody needs."""
    let_go, waits = threading.Event(), []

    async def silent(_: Request) -> Response:
        waits.append(1)
        while not let_go.is_set():  # noqa: ASYNC110 - let go by another thread
            await asyncio.sleep(0.01)
        return JSONResponse(jwks_of(KEY))

    served = ServedApp(Starlette(routes=[Route("/keys", silent)]), free_port())
    served.start()
    client = ClientSettings(
        client_id=KEY_CLIENT, jwks_uri=f"http://127.0.0.1:{served.port}/keys", redirect_uris=(REDIRECT_URI,)
    )
    try:
        with running_issuer(redis_server.url, clients=(client,)) as issuer:
            async with httpx.AsyncClient(base_url=issuer.url, timeout=PATIENCE) as http:
                body = {"grant_type": "authorization_code", "code": "invented"}
                forms = [{**body, **form_of(assertion(KEY, issuer.url))} for _ in range(50)]
                answers: list[tuple[int, str]] = []

                async def post(form: dict[str, str]) -> None:
                    answers.append(error_of(await http.post("/token", data=form)))

                async with asyncio.TaskGroup() as group:
                    for form in forms:
                        group.create_task(post(form))
                    await until(lambda: len(answers) == 50 - MOST_WAITING)
                    assert {(503, "temporarily_unavailable")} == set(answers)
                    assert 200 == (await http.get("/healthz")).status_code
                    signed = assertion(KEY, issuer.url, header={"typ": TYPE})
                    query = {"client_id": KEY_CLIENT, "request": signed}
                    assert 503 == (await http.get("/authorize", params=query)).status_code
                    let_go.set()
        assert (MOST_WAITING, 1) == (answers.count(BELIEVED), len(waits))
    finally:
        let_go.set()
        served.stop()


@pytest.mark.parametrize(
    ("begin", "piece"),
    [(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"), (b"HTTP/1.1 200 OK\r\n\r\n", b" ")],
    ids=["before the head", "in the body"],
)
def test_an_answer_that_never_ends_holds_no_thread(
    monkeypatch: pytest.MonkeyPatch, begin: bytes, piece: bytes
) -> None:
    """Each byte comes in time, and the answer never does: the fetch is given up as a whole."""
    monkeypatch.setattr(client_keys, "LONGEST", 0.3)
    over = threading.Event()

    def trickle(listener: socket.socket) -> None:
        with listener.accept()[0] as connection, suppress(OSError):
            connection.sendall(begin)
            while True:
                connection.sendall(piece)
                time.sleep(0.01)
        over.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=trickle, args=(listener,))
        thread.start()
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}/keys"
        client = Client(ClientSettings(client_id=KEY_CLIENT, jwks_uri=uri))
        assert None is ClientKeys().find(client, "one", 100.0)
        thread.join(PATIENCE)
    assert over.is_set()  # the connection is closed, too


def test_keys_are_not_unpacked() -> None:
    """A few kilobytes of gzip unpack to megabytes before any bound is looked at: no coding is read."""
    asked: list[str] = []

    async def answer(request: Request) -> Response:
        asked.append(request.headers["accept-encoding"])
        packed = gzip.compress(json.dumps(jwks_of(KEY)).encode())
        return Response(packed, headers={"Content-Encoding": "gzip"})

    served = ServedApp(Starlette(routes=[Route("/keys", answer)]), free_port())
    served.start()
    client = Client(ClientSettings(client_id=KEY_CLIENT, jwks_uri=f"http://127.0.0.1:{served.port}/keys"))
    try:
        assert ClientKeys().find(client, None, 100.0) is None
    finally:
        served.stop()
    assert ["identity"] == asked


@pytest.mark.parametrize("status", [401, 404, 500, 503, 302])
def test_an_answer_that_is_no_success_brings_no_keys(status: int) -> None:
    """A key set in an error page is not the client's word; the keys at hand serve on."""
    statuses, keys = [200], [new_key("one")]

    async def answer(_: Request) -> Response:
        return JSONResponse(jwks_of(*keys), statuses[0])

    port = free_port()
    served = ServedApp(Starlette(routes=[Route("/keys", answer)]), port)
    served.start()
    client = Client(ClientSettings(client_id=KEY_CLIENT, jwks_uri=f"http://127.0.0.1:{port}/keys"))
    found, later = ClientKeys(cooldown=10), ClientKeys(cooldown=10)
    try:
        assert found.find(client, "one", 100.0) is not None
        statuses[0], keys[0] = status, new_key("two")
        assert found.find(client, "two", 120.0) is None
        assert found.find(client, "one", 120.0) is not None
        assert later.find(client, "two", 120.0) is None
    finally:
        served.stop()


def test_settings_of_clients_are_checked() -> None:
    """Private, symmetric, weak and unreadable keys are refused, and more or less than one way."""
    modulus = encode(b"\xff" * 128)
    weak = {"keys": [{"kty": "RSA", "n": modulus, "e": "AQAB"}]}
    private = {"keys": [KEY.as_dict(private=True)]}
    symmetric, unknown = {"keys": [{"kty": "oct", "k": "AAAA"}]}, {"keys": [{"kty": "x"}]}
    bad: dict[str, Any]
    for bad in (weak, private, symmetric, unknown, {"keys": []}, {}):
        with pytest.raises(ValidationError):
            ClientSettings(client_id="c", jwks=bad)
    for ways in ({}, {"jwks": jwks_of(KEY), "client_secret": "s"}):
        with pytest.raises(ValidationError):
            ClientSettings.model_validate({"client_id": "c", **ways})
    for uri in ("http://app.example/cb", "https://u@app.example/cb", "https://app.example/cb#x", "/cb"):
        with pytest.raises(ValidationError):
            ClientSettings.model_validate({"client_id": "c", "client_secret": "s", "redirect_uris": [uri]})


def test_a_secret_may_be_given_as_its_hash() -> None:
    """`client_secret_sha256` lets the settings hold no secret."""
    digest = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"  # of "secret"
    client = ClientSettings(client_id="hashed", client_secret_sha256=digest)
    with redis_server() as server, running_issuer(server.url, clients=(client,)) as issuer:
        assert BELIEVED == error_of(ask(issuer, {}, auth=("hashed", "secret")))
        assert REFUSED == error_of(ask(issuer, {}, auth=("hashed", digest)))


def test_rsa_keys_work_too() -> None:
    """RS256 and PS256 are taken."""
    key = rsa_key({"kid": "rsa"})
    client = ClientSettings(client_id=KEY_CLIENT, jwks=jwks_of(key))
    with redis_server() as server, running_issuer(server.url, clients=(client,)) as issuer:
        for alg in ("RS256", "PS256"):
            assert BELIEVED == error_of(ask(issuer, form_of(assertion(key, issuer.url, alg=alg))))
