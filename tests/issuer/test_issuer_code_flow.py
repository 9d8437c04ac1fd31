"""The authorization code flow at the issuer, on real sockets."""

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import httpx
import pytest
import redis
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.issuer.flow import REDIRECT_URI, Person, challenge_of, payload_of
from tests.support.processes.redis import RedisServer
from tests.support.providers.issuer import (
    ALICE,
    AUDIENCE,
    BOB,
    CLIENT_ID,
    CLIENT_SECRET,
    RunningIssuer,
    query_of,
    read_form,
    sign_in_at,
)


def test_sign_in_gives_tokens_that_say_who(person: Person, issuer: RunningIssuer) -> None:
    """Code, PKCE and secret give an ID token with nonce, auth_time, sid, name and email."""
    tokens = person.tokens()
    keys = KeySet.import_key_set(httpx.get(f"{issuer.url}/jwks").json())
    id_token = jwt.decode(tokens["id_token"], keys, ["ES256"]).claims
    expected = {
        "iss": issuer.url,
        "aud": CLIENT_ID,
        "sub": "alice",
        "name": "Alice Liddell",
        "email": "alice@example.com",
        "nonce": "the-nonce",
    }
    assert expected == {name: id_token[name] for name in expected}
    assert {"auth_time", "sid", "exp", "iat", "at_hash"} <= id_token.keys()
    assert "Bearer" == tokens["token_type"]
    assert 300 == tokens["expires_in"]
    assert 3590 <= tokens["refresh_token_expires_in"] <= 3600


@pytest.mark.requirement("J-02")
def test_access_tokens_are_rfc_9068_without_personal_data(person: Person, issuer: RunningIssuer) -> None:
    """An access token is `at+jwt` by ES256 with a kid, and holds no name and no address."""
    token = person.tokens()["access_token"]
    keys = KeySet.import_key_set(httpx.get(f"{issuer.url}/jwks").json())
    read = jwt.decode(token, keys, ["ES256"])
    assert "at+jwt" == read.header["typ"]
    assert read.header["kid"] == keys.keys[0].kid
    assert {"iss", "aud", "sub", "exp", "iat", "jti", "sid", "client_id", "scope", "auth_time", "acr"} == (
        read.claims.keys()
    )
    assert AUDIENCE == read.claims["aud"]
    assert "liddell" not in str(read.claims).lower()


@pytest.mark.requirement("O-06")
def test_discovery_names_what_works(issuer: RunningIssuer) -> None:
    """Each endpoint of the document answers, and the issuer in it is the issuer."""
    document = httpx.get(f"{issuer.url}/.well-known/openid-configuration").json()
    assert issuer.url == document["issuer"]
    assert ["S256"] == document["code_challenge_methods_supported"]
    assert document["authorization_response_iss_parameter_supported"] is True
    assert document["backchannel_logout_session_supported"] is True
    for name, url in document.items():
        if name.endswith("_endpoint") or name == "jwks_uri":
            assert 404 != httpx.get(url).status_code, name


def test_published_keys_are_public(issuer: RunningIssuer) -> None:
    """The key set has one key, with a kid and without its private part."""
    (key,) = httpx.get(f"{issuer.url}/jwks").json()["keys"]
    assert {"kty", "crv", "x", "y", "kid", "use", "alg"} == key.keys()


def test_success_carries_iss_and_state(person: Person, issuer: RunningIssuer) -> None:
    """The redirect with the code names the issuer (RFC 9207) and returns the state."""
    answer = sign_in_at(person.authorize(state='a"b \\ü&c=d'), person.http)
    query = query_of(answer.headers["location"])
    assert answer.headers["location"].startswith(REDIRECT_URI + "?")
    assert {"code", "state", "iss"} == query.keys()
    assert ('a"b \\ü&c=d', issuer.url) == (query["state"], query["iss"])


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": 'co"de\\'}, "unsupported_response_type"),
        ({"response_type": None}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"scope": "admin"}, "invalid_scope"),
        ({"scope": None}, "invalid_scope"),
        ({"request_uri": "https://evil.example"}, "request_uri_not_supported"),
        ({"prompt": "none"}, "login_required"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"prompt": "none", "scope": "profile"}, "login_required"),
        ({"max_age": "-1"}, "invalid_request"),
    ],
)
def test_errors_go_to_the_client_with_iss(
    person: Person, issuer: RunningIssuer, changes: dict[str, str | None], error: str
) -> None:
    """What is wrong with a request is told to the client, with state and `iss`; `plain` and no PKCE too."""
    answer = person.authorize(**changes)
    query = query_of(answer.headers["location"])
    assert (error, "the-state", issuer.url) == (query["error"], query["state"], query["iss"])


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "nobody"},
        {"client_id": None},
        {"request": "e30.e30."},
        {"redirect_uri": None},
        {"redirect_uri": REDIRECT_URI + "/"},
        {"redirect_uri": REDIRECT_URI + "?a=b"},
        {"redirect_uri": REDIRECT_URI.replace("localhost", "LOCALHOST")},
        {"redirect_uri": 'https://evil.example/"\\'},
    ],
)
def test_nothing_is_redirected_to_an_unregistered_address(
    person: Person, changes: dict[str, str | None]
) -> None:
    """An unknown client or a redirect URI that differs in one character gets a page, not a redirect."""
    answer = person.authorize(**changes)
    assert 400 == answer.status_code
    assert "location" not in answer.headers
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_a_parameter_that_comes_twice_is_refused(person: Person, issuer: RunningIssuer) -> None:
    """Two redirect URIs, whichever is first, are one too many (RFC 6749 3.1)."""
    query = urlencode([*person.request().items(), ("redirect_uri", "https://evil.example")])
    assert 400 == person.http.get(f"{issuer.url}/authorize?{query}").status_code


@pytest.mark.requirement("O-01")
@pytest.mark.parametrize("verifier", ["", "x" * 43, "too short"])
def test_a_code_is_nothing_without_its_verifier(person: Person, verifier: str) -> None:
    """A confidential client gets no tokens either when the verifier is missing or wrong."""
    answer = person.exchange(person.code(), code_verifier=verifier)
    assert 400 == answer.status_code
    assert "access_token" not in answer.json()


def test_a_code_is_bound_to_its_redirect_uri(person: Person) -> None:
    """The token request has to repeat the redirect URI."""
    answer = person.exchange(person.code(), redirect_uri="http://localhost:8080/other")
    assert "invalid_grant" == answer.json()["error"]


@pytest.mark.requirement("J-05")
def test_a_code_used_twice_ends_what_it_began(person: Person) -> None:
    """The second use of a code is refused, and the refresh token from the first is dead."""
    code = person.code()
    tokens = person.exchange(code).json()
    assert "invalid_grant" == person.exchange(code).json()["error"]
    assert "invalid_grant" == person.refresh(tokens["refresh_token"]).json()["error"]


def test_a_code_without_a_family_is_good_once_too(person: Person) -> None:
    """Where no refresh token was granted the second use of a code is refused all the same."""
    code = person.code(scope="openid")
    assert 200 == person.exchange(code).status_code
    assert "invalid_grant" == person.exchange(code).json()["error"]


@pytest.mark.requirement("J-05")
def test_a_code_used_by_many_at_once_serves_one_at_most(person: Person) -> None:
    """Of many exchanges of one code at the same time at most one succeeds, and no refresh token survives."""
    code = person.code()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: person.exchange(code), range(16)))
    good = [answer.json() for answer in answers if answer.status_code == 200]
    assert len(good) <= 1
    assert all("invalid_grant" == person.refresh(one["refresh_token"]).json()["error"] for one in good)


def test_a_code_ends_unused(redis_server: RedisServer, person: Person) -> None:
    """A code has a lifetime, after which Redis has forgotten it; that signs nobody out."""
    token, code = person.tokens()["refresh_token"], person.code()
    with redis_server.client() as client:
        (key,) = client.keys("issuer:code:*")
        assert 0 < int(str(client.pttl(key))) <= 60_000
        client.delete(key)
    assert "invalid_grant" == person.exchange(code).json()["error"]
    assert 200 == person.refresh(token).status_code


@pytest.mark.parametrize(
    ("auth", "form", "status"),
    [
        ((CLIENT_ID, "wrong"), {}, 401),
        (("nobody", CLIENT_SECRET), {}, 401),
        (None, {}, 401),
        (None, {"client_id": CLIENT_ID}, 401),
        (None, {"client_id": CLIENT_ID, "client_secret": "wrong"}, 401),
        ((CLIENT_ID, CLIENT_SECRET), {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}, 400),
    ],
)
def test_only_the_client_gets_tokens(
    person: Person, auth: tuple[str, str] | None, form: dict[str, str], status: int
) -> None:
    """Wrong, missing or doubled credentials are refused, and a good exchange afterwards still works."""
    code = person.code()
    answer = person.token({**person.code_form(code), **form}, auth)
    assert status == answer.status_code
    assert "invalid_client" == answer.json()["error"] or status == 400
    assert 200 == person.exchange(code).status_code


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Basic /w==", "Bearer abc", "Basic YWJj"])
def test_unreadable_credentials_are_an_answer_not_a_crash(
    person: Person, issuer: RunningIssuer, header: str
) -> None:
    """Credentials that are no base64, no UTF-8 or no pair are 401 `invalid_client`."""
    answer = person.http.post(
        f"{issuer.url}/token", data={"grant_type": "refresh_token"}, headers={"Authorization": header}
    )
    assert (401, "invalid_client") == (answer.status_code, answer.json()["error"])
    assert answer.headers["www-authenticate"].startswith("Basic")


def test_the_secret_may_come_in_the_form(person: Person) -> None:
    """client_secret_post works as client_secret_basic does."""
    form = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    answer = person.token({**person.code_form(person.code()), **form}, None)
    assert 200 == answer.status_code
    assert "no-store" == answer.headers["cache-control"]


def test_without_offline_access_there_is_no_refresh_token(person: Person) -> None:
    """A refresh token is given for `offline_access` only; without `email` the address stays here."""
    tokens = person.tokens(scope="openid profile")
    assert "refresh_token" not in tokens
    assert "email" not in payload_of(tokens["id_token"])


def test_whoever_is_signed_in_is_not_asked_again(person: Person) -> None:
    """A second request gets its code at once, for the same sub and sid."""
    first, second = person.tokens(), None
    answer = person.authorize(prompt="none")
    assert 303 == answer.status_code
    second = person.exchange(query_of(answer.headers["location"])["code"]).json()
    names = ("sub", "sid", "auth_time")
    one, two = payload_of(first["id_token"]), payload_of(second["id_token"])
    assert [one[name] for name in names] == [two[name] for name in names]


@pytest.mark.parametrize("changes", [{"prompt": "login"}, {"prompt": "select_account"}, {"max_age": "0"}])
def test_whoever_is_signed_in_is_asked_again_on_demand(person: Person, changes: dict[str, str]) -> None:
    """`prompt=login`, `select_account` and `max_age` bring the page back, and then a new sign-in."""
    first = payload_of(person.tokens()["id_token"])
    page = person.authorize(**changes) if "max_age" not in changes else _later(person, changes)
    assert 200 == page.status_code
    answer = sign_in_at(page, person.http, BOB)
    second = payload_of(person.exchange(query_of(answer.headers["location"])["code"]).json()["id_token"])
    assert "bob" == second["sub"]
    assert first["sid"] != second["sid"]


def _later(person: Person, changes: dict[str, str]) -> httpx.Response:
    """Asks until the second in which the person signed in is over."""
    page = person.authorize(**changes)
    while page.status_code != 200:
        page = person.authorize(**changes)
    return page


def test_a_hint_of_somebody_else_brings_the_page(person: Person) -> None:
    """`id_token_hint` of bob does not give a code for alice."""
    with Person(person.issuer) as other:
        hint = other.tokens(BOB)["id_token"]
    person.tokens(ALICE)
    answer = person.authorize(prompt="none", id_token_hint=hint)
    assert "login_required" == query_of(answer.headers["location"])["error"]
    assert 200 == person.authorize(id_token_hint=hint).status_code


@pytest.mark.parametrize("who", [ALICE, BOB])
def test_a_sign_in_as_somebody_else_than_the_hint_names(person: Person, who: tuple[str, str]) -> None:
    """Whoever signs in on a page for bob gets a code as bob alone, else `login_required` (Core 3.1.2.1)."""
    with Person(person.issuer) as other:
        hint = other.tokens(BOB)["id_token"]
    answer = sign_in_at(person.authorize(id_token_hint=hint), person.http, who)
    query = query_of(answer.headers["location"])
    assert ("code" in query) == (who == BOB)
    assert (None if who == BOB else "login_required", "the-state", person.issuer.url) == (
        query.get("error"),
        query["state"],
        query["iss"],
    )


def test_userinfo_tells_what_the_scope_allows(person: Person, issuer: RunningIssuer) -> None:
    """Userinfo answers to a valid access token, and to nothing else."""
    tokens = person.tokens()
    url = f"{issuer.url}/userinfo"
    good = httpx.get(url, headers={"Authorization": f"Bearer {tokens['access_token']}"})
    assert {"sub": "alice", "name": "Alice Liddell", "email": "alice@example.com"} == good.json()
    for bad in (tokens["id_token"], tokens["refresh_token"], tokens["access_token"] + "x"):
        refused = httpx.get(url, headers={"Authorization": f"Bearer {bad}"})
        assert 401 == refused.status_code
        assert refused.headers["www-authenticate"].startswith("Bearer")


def test_a_request_by_post_becomes_one_by_get(person: Person, issuer: RunningIssuer) -> None:
    """OpenID Connect Core 3.1.2.1: the authorization endpoint takes forms as well."""
    answer = person.http.post(f"{issuer.url}/authorize", data=person.request())
    page = person.http.get(answer.headers["location"])
    assert read_form(page)[0].startswith(f"{issuer.url}/sign-in?")


def test_nothing_usable_is_stored(redis_server: RedisServer, person: Person) -> None:
    """Neither cookie, code, refresh token, access token nor password can be read from Redis."""
    code = person.code()
    tokens = person.exchange(code).json()
    with redis_server.client() as client:
        dump = []
        for key in client.scan_iter("*"):
            kind = client.type(key)
            dump.append(f"{key} {_value(client, str(kind), key)}")
    everything = "\n".join(dump)
    secrets = [code, tokens["access_token"], *tokens["refresh_token"].split(".")[1:], "wonderland"]
    secrets += [cookie.value or "" for cookie in person.http.cookies.jar]
    assert [] == [secret for secret in secrets if secret in everything]
    assert "$argon2id$" in everything


def _value(client: "redis.Redis", kind: str, key: str) -> object:
    if kind == "zset":
        return client.zrange(key, 0, -1)
    return {"hash": client.hgetall, "set": client.smembers, "string": client.get}[kind](key)


def test_redis_down_is_said_and_passes(redis_server: RedisServer, person: Person) -> None:
    """Without Redis: 503 with Retry-After, as page and as JSON; with it again, everything works."""
    redis_server.stop()
    page, answer = person.authorize(), person.refresh("a.b")
    assert (200, 503) == (page.status_code, answer.status_code)  # the page needs nobody who is signed in
    assert "retry-after" in answer.headers
    redis_server.start()
    assert person.tokens()


def test_challenges_are_compared_by_hash() -> None:
    """The tests' own S256 agrees with RFC 7636 appendix B."""
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" == challenge_of(verifier)
