"""Whatever is sent to the issuer: an answer of the 200s, 300s or 400s, and nothing of it in a `Location`."""

import random
from base64 import urlsafe_b64encode
from urllib.parse import urlsplit

import httpx
import pytest

from tests.issuer.flow import CREDENTIALS, REDIRECT_URI, Person, challenge_of
from tests.support.providers.issuer import CLIENT_ID

JUNK = [
    "", '"', "\\", "é", "\x00", "%", "a b", "x" * 3000, "[]", "http://[", "0", "-1", "1e400", "9" * 400, "😀",
    "openid", "none", "login", "a.b", "e30.e30.e30", "authorization_code", "refresh_token",
    "https://evil.example/", "urn:ietf:params:oauth:request_uri:",
    "urn:ietf:params:oauth:grant-type:token-exchange",
    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", CLIENT_ID, REDIRECT_URI, "A" * 43, "S256",
    "code",
]  # fmt: skip
NAMES = [
    "grant_type", "code", "client_id", "client_assertion", "client_assertion_type", "redirect_uri", "scope",
    "state", "nonce", "code_challenge", "code_challenge_method", "code_verifier", "response_type",
    "response_mode", "prompt", "max_age", "resource", "audience", "subject_token", "subject_token_type",
    "requested_token_type",
    "refresh_token", "token", "token_type_hint", "request_uri", "request", "id_token_hint", "login_hint",
    "logout_hint", "post_logout_redirect_uri", "csrf", "email", "password", "claims", "registration",
]  # fmt: skip
HOW = {True: httpx.BasicAuth(*CREDENTIALS), False: httpx.Auth()}
PATHS = ["/token", "/par", "/revoke", "/introspect", "/authorize", "/end-session", "/sign-in", "/sign-out"]


@pytest.mark.parametrize("seed", range(3))
def test_nonsense_is_the_senders_fault(person: Person, seed: int) -> None:
    """80 requests, half of them good but for one parameter: no 5xx, and no redirect to a foreign address."""
    dice = random.Random(seed)  # noqa: S311 - a walk to be repeated, no secret
    good = person.request(code_challenge=challenge_of("x" * 43))
    for _ in range(80):
        path = dice.choice(PATHS)
        form = dict(good) if dice.random() < 0.5 else {}
        names = dice.sample(NAMES, 1 if form else dice.randint(0, 8))
        form |= {name: dice.choice(JUNK) for name in names}
        known = "client_assertion" not in form and dice.random() < 0.7
        query = form if path.startswith("/sign") else None
        if path in ("/authorize", "/end-session") and dice.random() < 0.7:
            answer = person.http.get(person.issuer.url + path, params=form)
        else:
            answer = person.http.post(person.issuer.url + path, data=form, params=query, auth=HOW[known])
        assert answer.status_code < 500, (path, form)
        target = urlsplit(answer.headers.get("location", ""))
        assert target.hostname in (None, "localhost"), (path, form)


@pytest.mark.parametrize("deep", ["header", "payload"])
def test_json_that_is_nested_too_deeply_is_the_senders_fault(person: Person, deep: str) -> None:
    """A parser that runs out of stack is no fault of ours: refused, wherever a JWT is taken."""
    parts = {"header": b'{"alg":"ES256","kid":"a","typ":"at+jwt"}', "payload": b"{}"}
    parts[deep] = b'{"kid":' + b"[" * 4000
    token = ".".join(urlsafe_b64encode(part).decode().rstrip("=") for part in (*parts.values(), b"s"))
    jwt_bearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    assertion = {"client_assertion": token, "client_assertion_type": jwt_bearer, "client_id": CLIENT_ID}
    url, http, auth = person.issuer.url, person.http, HOW[True]
    answers = {
        "/token": http.post(
            f"{url}/token", data={"grant_type": "refresh_token", "refresh_token": "a", **assertion}
        ),
        "/introspect": http.post(f"{url}/introspect", data={"token": token}, auth=auth),
        "/revoke": http.post(f"{url}/revoke", data={"token": token}, auth=auth),
        "/userinfo": http.get(f"{url}/userinfo", headers={"Authorization": f"Bearer {token}"}),
        "/end-session": http.get(f"{url}/end-session", params={"id_token_hint": token}),
    }
    assert not [path for path, answer in answers.items() if answer.status_code >= 500]
