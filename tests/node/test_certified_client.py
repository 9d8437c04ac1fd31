"""Our issuer and the client libraries that others use: npm openid-client (certified), and authlib's own."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey, KeySet

from tests.issuer.flow import REDIRECT_URI, payload_of
from tests.node.packages import program
from tests.support.processes.redis import RedisServer
from tests.support.providers.issuer import (
    CLIENT_ID,
    CLIENT_SECRET,
    RunningIssuer,
    query_of,
    running_issuer,
    sign_in_at,
)

SCOPE = "openid profile email offline_access"
LANDING = "http://localhost:8080/"
ORDERS = "orders"
KEY = ECKey.generate_key("P-256", {"kid": "the-clients", "use": "sig"})


@pytest.fixture(name="issuer")
def _issuer(redis_server: RedisServer, request: pytest.FixtureRequest) -> Iterator[RunningIssuer]:
    by_key = getattr(request, "param", False)
    keys = {"client_secret": None, "jwks": KeySet([KEY]).as_dict(private=False)}
    client = {"audiences": [ORDERS], **(keys if by_key else {})}
    with running_issuer(redis_server.url, post_logout_redirect_uris=[LANDING], client=client) as issuer:
        yield issuer


def came_back(browser: httpx.Client, url: str) -> str:
    """Signs alice in where she is sent; returns where the browser is sent back to."""
    answer = browser.get(url)
    if answer.status_code == 200:
        answer = sign_in_at(answer, browser)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


@pytest.mark.requirement("O-13", "O-14", "J-05")
@pytest.mark.parametrize(
    ("issuer", "pushed"), [(False, False), (True, True)], ids=["secret", "key-and-PAR"], indirect=["issuer"]
)
def test_a_certified_client_finds_nothing_wrong(issuer: RunningIssuer, pushed: bool) -> None:
    """Discovery, code, PKCE, ID token, refresh, userinfo, introspection, exchange, revocation, sign-out."""
    asked = {
        "issuer": issuer.url,
        "clientId": CLIENT_ID,
        **({"jwk": KEY.as_dict(private=True)} if pushed else {"secret": CLIENT_SECRET}),
        "redirectUri": REDIRECT_URI,
        "landing": LANDING,
        "scope": SCOPE,
        "audience": ORDERS,
        "pushed": pushed,
    }
    with httpx.Client() as browser, program("client.mjs", json.dumps(asked)) as client:
        url = json.loads(client.line())["authorize"]
        assert pushed == ("request_uri" in query_of(url))
        client.tell(came_back(browser, url))
        first = json.loads(client.line())
        assert ("alice", "invalid_grant") == (first["claims"]["sub"], first["codeAgain"])
        assert set(SCOPE.split()) == set(first["scope"].split())
        client.tell(came_back(browser, json.loads(client.line())["authorize"]))
        told = json.loads(client.line())
        signed_out = browser.get(told["signOut"])
    assert {"sub": "alice", "name": "Alice Liddell", "email": "alice@example.com"} == told["user"]
    assert (True, "alice", CLIENT_ID) == tuple(told["about"][name] for name in ("active", "sub", "client_id"))
    assert ORDERS == told["aboutExchanged"]["aud"]
    assert told["about"]["sid"] == told["aboutExchanged"]["sid"]
    assert (True, True, False, "invalid_grant") == tuple(
        told[name] for name in ("rotated", "goodBefore", "goodAfter", "afterwards")
    )
    assert signed_out.status_code in (200, 303)


@pytest.mark.requirement("J-05")
@pytest.mark.filterwarnings("ignore:The httpx module is deprecated")  # authlib's word; httpx is what is here
def test_authlibs_client_signs_in(issuer: RunningIssuer) -> None:
    """Code, PKCE, refresh with rotation, introspection and revocation by authlib's own client."""
    from authlib.integrations.httpx_client import OAuth2Client  # noqa: PLC0415, TID251 - it is what is tried here

    metadata: dict[str, Any] = httpx.get(f"{issuer.url}/.well-known/openid-configuration").json()
    verifier = "a-verifier-of-at-least-forty-three-characters-0"
    with (
        httpx.Client() as browser,
        OAuth2Client(
            CLIENT_ID, CLIENT_SECRET, scope=SCOPE, redirect_uri=REDIRECT_URI, code_challenge_method="S256"
        ) as client,
    ):
        url, state = client.create_authorization_url(
            metadata["authorization_endpoint"], code_verifier=verifier, nonce="the-nonce"
        )
        back = came_back(browser, url)
        token = client.fetch_token(
            metadata["token_endpoint"], authorization_response=back, state=state, code_verifier=verifier
        )
        assert ("alice", "the-nonce") == tuple(
            payload_of(token["id_token"])[name] for name in ("sub", "nonce")
        )
        rotated = client.refresh_token(metadata["token_endpoint"], refresh_token=token["refresh_token"])
        assert token["refresh_token"] != rotated["refresh_token"]

        def active() -> bool:
            answer = client.introspect_token(
                metadata["introspection_endpoint"], token=rotated["refresh_token"]
            )
            found: bool = answer.json()["active"]
            return found

        assert active()
        assert (
            200
            == client.revoke_token(
                metadata["revocation_endpoint"], token=rotated["refresh_token"]
            ).status_code
        )
        assert not active()
