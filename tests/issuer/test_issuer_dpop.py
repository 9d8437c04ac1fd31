"""DPoP at the issuer (RFC 9449), on real sockets: tokens that are bound to the key that a client proves."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from bff.issuer.settings import ClientSettings
from bff.issuer.store import used_proofs
from bff.verify import Dpop, RequestParts, TokenRefusedError, TokenVerifier
from tests.issuer.flow import CREDENTIALS, REDIRECT_URI, SCOPE, Person, payload_of
from tests.support.processes.redis import RedisServer, redis_server
from tests.support.providers.issuer import ALICE, AUDIENCE, RunningIssuer, running_issuer
from tests.verify.proofs import PROVER, STRANGER, proof

STRICT, NONCED = ("strict", "a-secret"), ("nonced", "a-secret")
JKT = PROVER.thumbprint()
TOKEN_EXCHANGE = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
    "audience": "billing",
}


@pytest.fixture(name="redis_server", scope="module")
def _redis_server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(name="issuer", scope="module")
def _issuer(redis_server: RedisServer) -> Iterator[RunningIssuer]:
    def client(who: tuple[str, str], flag: str) -> ClientSettings:
        fields = {"client_id": who[0], "client_secret": who[1], "redirect_uris": (REDIRECT_URI,), flag: True}
        return ClientSettings.model_validate(fields)

    clients = (client(STRICT, "require_dpop"), client(NONCED, "dpop_nonce"))
    with running_issuer(
        redis_server.url,
        (REDIRECT_URI,),
        client={"audiences": ["billing"], "client_credentials": ["jobs"]},
        clients=clients,
    ) as running:
        yield running


class Prover(Person):
    """A client that proves a key with each request."""

    def proof(self, path: str = "/token", **changes: Any) -> str:
        url = changes.pop("url", f"{self.issuer.url}{path}")
        return proof(url, **{"iat": time.time(), **changes})

    def ask(
        self, form: dict[str, str], *proofs: str, auth: tuple[str, str] = CREDENTIALS, path: str = "/token"
    ) -> httpx.Response:
        headers = [("DPoP", each) for each in proofs]
        return self.http.post(f"{self.issuer.url}{path}", data=form, auth=auth, headers=headers)

    def bound(self, **changes: str) -> dict[str, Any]:
        """Signs in, and gets tokens that are bound to the key."""
        answer = self.ask(self.code_form(self.code(ALICE, **changes)), self.proof())
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def info(self, token: str, *proofs: str, scheme: str = "DPoP") -> httpx.Response:
        fields = [("Authorization", f"{scheme} {token}"), *(("DPoP", each) for each in proofs)]
        return self.http.get(f"{self.issuer.url}/userinfo", headers=fields)


@pytest.fixture(name="prover")
def _prover(issuer: RunningIssuer) -> Iterator[Prover]:
    with Prover(issuer) as prover:
        yield prover


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


@pytest.mark.requirement("P-03")
async def test_tokens_are_bound_to_the_key_that_is_proved(prover: Prover) -> None:
    """By each grant: `cnf.jkt` and `token_type: DPoP`; without a proof a bearer token."""
    tokens = prover.bound(scope=SCOPE)
    assert ("DPoP", {"jkt": JKT}) == (tokens["token_type"], payload_of(tokens["access_token"])["cnf"])
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    renewed = prover.ask(form, prover.proof(key=STRANGER)).json()
    assert {"jkt": STRANGER.thumbprint()} == payload_of(renewed["access_token"])["cnf"]
    exchange = {**TOKEN_EXCHANGE, "subject_token": tokens["access_token"]}
    exchanged = prover.ask(exchange, prover.proof()).json()
    assert ("DPoP", {"jkt": JKT}) == (exchanged["token_type"], payload_of(exchanged["access_token"])["cnf"])
    for proofs in ((), (prover.proof(key=STRANGER),)):
        assert (400, "invalid_dpop_proof") == error_of(prover.ask(exchange, *proofs))
    plain = prover.ask({**form, "refresh_token": renewed["refresh_token"]}).json()
    assert ("Bearer", False) == (plain["token_type"], "cnf" in payload_of(plain["access_token"]))
    own = prover.ask({"grant_type": "client_credentials"}, prover.proof()).json()
    assert ("DPoP", {"jkt": JKT}) == (own["token_type"], payload_of(own["access_token"])["cnf"])
    about = prover.ask({"token": tokens["access_token"]}, path="/introspect").json()
    assert ("DPoP", {"jkt": JKT}) == (about["token_type"], about["cnf"])


@pytest.mark.requirement("P-03")
async def test_a_backend_takes_what_the_issuer_binds(issuer: RunningIssuer, prover: Prover) -> None:
    """The verifier, by the issuer's own documents: with a proof for the call, and never as a bearer token."""
    token = prover.bound()["access_token"]
    url = "http://orders.example/orders"
    async with TokenVerifier(issuer=issuer.url, audience=AUDIENCE, dpop=Dpop()) as checks:
        shown = proof(url, "GET", iat=time.time(), token=token)
        request = RequestParts("GET", url, [("Authorization", f"DPoP {token}"), ("DPoP", shown)])
        assert "alice" == (await checks.verify_request(request)).sub
        with pytest.raises(TokenRefusedError, match="proof_replayed"):
            await checks.verify_request(request)
        with pytest.raises(TokenRefusedError, match="bound"):
            await checks.verify(token)


@pytest.mark.requirement("P-03")
def test_a_code_can_be_bound_to_a_key(prover: Prover) -> None:
    """By `dpop_jkt`, or by the proof of a push: another key, and none, get no tokens."""
    for proofs in ((), (prover.proof(key=STRANGER),)):
        form = prover.code_form(prover.code(dpop_jkt=JKT))
        assert (400, "invalid_grant") == error_of(prover.ask(form, *proofs))
    assert "DPoP" == prover.bound(dpop_jkt=JKT)["token_type"]
    request = prover.request()
    pushed = prover.ask(request, prover.proof("/par"), path="/par").json()["request_uri"]
    form = prover.code_form(prover.code(request_uri=pushed))
    assert (400, "invalid_grant") == error_of(prover.ask(form, prover.proof(key=STRANGER)))
    both = {**request, "dpop_jkt": STRANGER.thumbprint()}
    assert (400, "invalid_request") == error_of(prover.ask(both, prover.proof("/par"), path="/par"))
    assert (400, "invalid_request") == error_of(prover.ask({**request, "dpop_jkt": "x"}, path="/par"))


@pytest.mark.requirement("P-03")
def test_bad_proofs_spend_nothing(prover: Prover) -> None:
    """Each is `invalid_dpop_proof` with its reason, in JSON; the code is good for the next request."""
    form, other = prover.code_form(prover.code()), "https://evil.example/token"
    bad: dict[str, tuple[str, ...]] = {
        "proof_url": (prover.proof(url=other),),
        "proof_method": (prover.proof(htm="GET"),),
        "proof_time": (prover.proof(iat=time.time() - 600),),
        "proof_doubled": (prover.proof(), prover.proof()),
        "proof_key": (prover.proof(header={"jwk": PROVER.as_dict(private=True)}),),
        "proof_signature": (prover.proof(header={"jwk": STRANGER.as_dict(private=False)}),),
        "proof_type": (prover.proof(header={"typ": "JWT"}),),
        "proof_malformed": ("nonsense",),
    }
    for reason, proofs in bad.items():
        answer = prover.ask(form, *proofs)
        assert (400, "invalid_dpop_proof") == error_of(answer)
        assert reason == answer.json()["error_description"]
    assert 200 == prover.ask(form, prover.proof()).status_code


@pytest.mark.requirement("P-03")
def test_a_proof_is_good_once(prover: Prover) -> None:
    """Of many uses at once one is taken."""
    used = prover.proof()
    form = {"grant_type": "refresh_token", "refresh_token": "invented"}
    with ThreadPoolExecutor(8) as pool:
        errors = list(pool.map(lambda _: prover.ask(form, used).json()["error"], range(16)))
    assert ["invalid_dpop_proof"] * 15 + ["invalid_grant"] == sorted(errors)


@pytest.mark.requirement("P-03")
def test_a_client_can_be_held_to_it(prover: Prover) -> None:
    """With `require_dpop` a request without a proof gets no token, and spends nothing."""
    form = prover.code_form(prover.code(client_id=STRICT[0]))
    assert (400, "invalid_request") == error_of(prover.ask(form, auth=STRICT))
    assert "DPoP" == prover.ask(form, prover.proof(), auth=STRICT).json()["token_type"]


@pytest.mark.requirement("P-03")
def test_a_nonce_can_be_asked_for(
    prover: Prover, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`use_dpop_nonce` with the nonce; then tokens and userinfo, and a newer nonce where there is one."""
    monkeypatch.setattr(used_proofs, "NONCE_LIFETIME", 10**8)  # no period ends during the test
    form = prover.code_form(prover.code(client_id=NONCED[0]))
    asked = prover.ask(form, prover.proof(), auth=NONCED)
    assert (400, "use_dpop_nonce") == error_of(asked)
    nonce = asked.headers["DPoP-Nonce"]
    assert (400, "use_dpop_nonce") == error_of(prover.ask(form, prover.proof(nonce="x"), auth=NONCED))
    good = prover.ask(form, prover.proof(nonce=nonce), auth=NONCED)
    assert (200, None) == (good.status_code, good.headers.get("DPoP-Nonce"))
    token = good.json()["access_token"]

    def shown(**more: str) -> httpx.Response:
        return prover.info(token, prover.proof("/userinfo", method="GET", token=token, **more))

    again = shown()
    assert (401, "use_dpop_nonce") == error_of(again)
    assert again.headers["WWW-Authenticate"].startswith('DPoP error="use_dpop_nonce", algs="ES256')
    assert nonce == again.headers["DPoP-Nonce"]
    assert 200 == shown(nonce=nonce).status_code
    with redis_server.client() as client:
        (key,) = client.keys("issuer:dpop-nonce:*")
        period = int(str(key).rpartition(":")[2])
        client.rename(key, f"issuer:dpop-nonce:{period - 1}")
    rotated = shown(nonce=nonce)
    assert 200 == rotated.status_code
    assert nonce != rotated.headers["DPoP-Nonce"]
    refresh = {"grant_type": "refresh_token", "refresh_token": good.json()["refresh_token"]}
    answer = prover.ask(refresh, prover.proof(nonce=nonce), auth=NONCED)
    assert (200, rotated.headers["DPoP-Nonce"]) == (answer.status_code, answer.headers["DPoP-Nonce"])


@pytest.mark.requirement("P-03")
def test_userinfo_wants_the_proof_of_a_bound_token(prover: Prover) -> None:
    """By the token's key, for that token, once; as a bearer token, and for a bearer token, it is refused."""
    token = prover.bound()["access_token"]

    def shown(**more: Any) -> str:
        return prover.proof("/userinfo", **{"method": "GET", "token": token, **more})

    used = shown()
    assert "alice" == prover.info(token, used).json()["sub"]
    assert (401, "invalid_dpop_proof") == error_of(prover.info(token, used))
    assert (401, "invalid_dpop_proof") == error_of(prover.info(token))
    assert (401, "invalid_dpop_proof") == error_of(prover.info(token, shown(token="another")))
    assert (401, "invalid_token") == error_of(prover.info(token, shown(key=STRANGER)))
    for proofs in ((), (shown(),)):
        refused = prover.info(token, *proofs, scheme="Bearer")
        assert (401, 'Bearer error="invalid_token"') == (
            refused.status_code,
            refused.headers["WWW-Authenticate"],
        )
    plain = prover.exchange(prover.code()).json()["access_token"]
    assert (401, "invalid_token") == error_of(prover.info(plain, shown(token=plain)))
    assert "alice" == prover.info(plain, scheme="Bearer").json()["sub"]


def test_discovery_says_so(issuer: RunningIssuer, prover: Prover) -> None:
    """The algorithms of proofs, and the `acr` that a sign-in has, which both tokens carry."""
    document = httpx.get(f"{issuer.url}/.well-known/openid-configuration").json()
    assert "ES256" in document["dpop_signing_alg_values_supported"]
    (acr,) = document["acr_values_supported"]
    tokens = prover.tokens(acr_values=acr)
    claims = payload_of(tokens["id_token"])
    carried = payload_of(tokens["access_token"])
    assert {(acr, claims["auth_time"])} == {(each["acr"], each["auth_time"]) for each in (claims, carried)}
