"""The proxy at a certified provider (npm oidc-provider): nothing of ours judges what is sent or answered."""

import asyncio
import base64
import hashlib
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from bff.oidc.http import ProviderHttp
from bff.oidc.metadata import discovery_url, parse_metadata
from bff.serve.check_plan import ClientLook
from bff.serve.provider_client_check import probe_clients
from bff.settings.model import ProviderSettings
from bff.verify.dpop import Proof, check_proof
from tests.issuer.flow import payload_of
from tests.node.certified import (
    API,
    EC_KEY,
    RSA_KEY,
    Certified,
    by_key,
    certified_provider,
    running_proxy,
    sent,
    submit,
)
from tests.support.network.tls import self_signed
from tests.support.processes.redis import RedisServer


@pytest.mark.requirement("O-13", "O-14")
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"client_id": "by-post", "client_auth": "client_secret_post"},
        by_key(EC_KEY),
        {**by_key(RSA_KEY), "client_assertion_aud": "token_endpoint"},
        {"par": "never"},
    ],
    ids=["basic", "post", "ES256", "PS256-for-the-endpoint", "without-PAR"],
)
async def test_alice_signs_in_and_her_tokens_rotate(
    redis_server: RedisServer, certified: Certified, settings: dict[str, Any]
) -> None:
    """Sign-in, a call, two rotations, each with a new token; by each way of authentication, pushed or not."""
    before = len(certified.events("pushed_authorization_request.success"))
    async with running_proxy(redis_server, certified, **settings) as proxy:
        browser = await proxy.signed_in()
        user = (await browser.user()).json()
        assert ("alice", 0) == (user["sub"], user["session"]["rotations"])
        tokens = [await proxy.token(browser)]
        for rotation in (1, 2):
            answer = await browser.call("/bff/refresh", "POST")
            assert (200, rotation) == (answer.status_code, answer.json()["session"]["rotations"])
            tokens.append(await proxy.token(browser))
        assert 3 == len(set(tokens))
        asked = next(sent(str(each.url)) for each in browser.answers if "/auth?" in str(each.url))
        pushed = len(certified.events("pushed_authorization_request.success")) - before
    if settings.get("par") == "never":
        assert (0, "S256") == (pushed, asked["code_challenge_method"])
    else:
        assert (1, {"client_id", "request_uri"}) == (pushed, set(asked))


@pytest.mark.requirement("P-04")
async def test_a_client_by_its_certificate(redis_server: RedisServer, certified: Certified) -> None:
    """Pushed, signed in, rotated, signed out: at the endpoints for certificates, which bind the tokens."""
    cert, key = certified.client
    settings: dict[str, Any] = {
        "client_id": "by-certificate",
        "client_auth": "self_signed_tls_client_auth",
        "token_binding": "mtls",
        "client_cert_file": cert,
        "client_cert_key_file": key,
        "ca_file": certified.server.cert,
        "resource": [API],
    }
    der = ssl.PEM_cert_to_DER_cert(cert.read_text())
    bound = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()
    async with running_proxy(redis_server, certified, **settings) as proxy:
        browser = await proxy.signed_in()
        first = await proxy.token(browser)
        assert 200 == (await browser.call("/bff/refresh", "POST")).status_code
        second = await proxy.token(browser)
        assert [bound] * 2 == [payload_of(token)["cnf"]["x5t#S256"] for token in (first, second)]
        assert first != second
        signed_out = (await browser.call("/bff/logout", "POST")).json()
        assert signed_out["provider_revoked"] is True


@pytest.mark.requirement("P-03")
@pytest.mark.parametrize("settings", [{"resource": [API]}, {"userinfo": "always", "dpop_alg": "EdDSA"}])
async def test_tokens_bound_to_a_key_of_the_session(
    redis_server: RedisServer, certified: Certified, settings: dict[str, Any]
) -> None:
    """Sign-in, userinfo and rotations by proofs with the provider's nonce; all tokens name the one key."""
    async with running_proxy(redis_server, certified, token_binding="dpop", **settings) as proxy:
        browser = await proxy.signed_in()
        seen: list[tuple[str, str]] = []
        for _ in range(2):
            token = (await proxy.token(browser)).removeprefix("DPoP ")
            (text,) = [value for name, value in proxy.backend.requests[-1].headers if name.lower() == b"dpop"]
            url = f"{proxy.backend.url}/orders"
            proof = check_proof(text.decode(), method="GET", url=url, now=time.time(), access_token=token)
            assert isinstance(proof, Proof), proof
            seen.append((token, proof.jkt))
            if "resource" in settings:
                assert proof.jkt == payload_of(token)["cnf"]["jkt"]
            else:
                assert "Alice Liddell" == (await browser.user()).json()["claims"]["name"]
            assert 200 == (await browser.call("/bff/refresh", "POST")).status_code
        assert (2, 1) == (len({token for token, _ in seen}), len({jkt for _, jkt in seen}))
        assert (await browser.call("/bff/logout", "POST")).json()["provider_revoked"] is True


@pytest.mark.requirement("P-05")
@pytest.mark.parametrize("binding", ["dpop", "mtls"])
async def test_the_whole_profile_at_a_provider_that_enforces_it(
    redis_server: RedisServer, certified: Certified, binding: str
) -> None:
    """FAPI 2.0 on both sides: signed in, called, rotated; the request was pushed, the token is bound."""
    cert, key = certified.client
    by_proof = {"client_id": "by-fapi-key", "client_key": by_key(EC_KEY)["client_key"]}
    by_certificate = {
        "client_id": "by-fapi",
        "client_auth": "self_signed_tls_client_auth",
        "token_binding": "mtls",
        "client_cert_file": cert,
        "client_cert_key_file": key,
        "ca_file": certified.server.cert,
    }
    chosen = by_proof if binding == "dpop" else by_certificate
    settings: dict[str, Any] = {"profile": "fapi2", "resource": [API], **chosen}
    before = len(certified.events("pushed_authorization_request.success"))
    async with running_proxy(redis_server, certified, **settings) as proxy:
        browser = await proxy.signed_in()
        token = (await proxy.token(browser)).removeprefix("DPoP ")
        assert ["jkt" if binding == "dpop" else "x5t#S256"] == list(payload_of(token)["cnf"])
        assert 200 == (await browser.call("/bff/refresh", "POST")).status_code
    assert before < len(certified.events("pushed_authorization_request.success"))


@pytest.mark.requirement("P-05")
@pytest.mark.parametrize("par", ["always", "never"])
async def test_requests_are_signed_where_the_provider_demands_it(
    redis_server: RedisServer, certified: Certified, par: str
) -> None:
    """Pushed or by the browser; without a signature nobody signs in."""
    settings: dict[str, Any] = {**by_key(EC_KEY), "client_id": "by-jar", "par": par}
    async with running_proxy(redis_server, certified, **settings, request_object=True) as proxy:
        browser = await proxy.signed_in()
        assert "alice" == (await browser.user()).json()["sub"]
    told = ProviderSettings.model_validate({"issuer": certified.url, **settings, "request_object": True})
    wire = ProviderHttp.of(told)
    metadata = parse_metadata((await wire.get(discovery_url(certified.url))).json(), certified.url)
    clients = [
        ClientLook(f"{certified.base}{path}", path) for path in ("/bff/callback", "/desk/bff/callback")
    ]
    checks = await probe_clients(wire, told, metadata, clients)
    assert checks[0].ok
    assert par == "never" or not checks[1].ok  # it knows no such redirect URI
    await wire.aclose()
    if par == "never":
        asked = next(sent(str(each.url)) for each in browser.answers if "/auth?" in str(each.url))
        assert {"client_id", "request"} == set(asked)
        return
    async with running_proxy(redis_server, certified, **settings) as proxy:
        answer = await (await proxy.browser()).client.get("/bff/login")
        assert 503 == answer.status_code


@pytest.mark.requirement("P-04")
async def test_another_certificate_is_refused(
    redis_server: RedisServer, certified: Certified, tmp_path: Path
) -> None:
    """Nobody signs in, and the log says that the provider refuses the client."""
    other = self_signed(tmp_path, "client")
    settings: dict[str, Any] = {
        "client_id": "by-certificate",
        "client_auth": "self_signed_tls_client_auth",
    }
    files: dict[str, Any] = {"client_cert_file": other.cert, "client_cert_key_file": other.key}
    async with running_proxy(
        redis_server, certified, **settings, **files, ca_file=certified.server.cert
    ) as proxy:
        browser = await proxy.browser()
        answer = await browser.client.get("/bff/login")
        assert (503, "provider_refused_client") == (answer.status_code, answer.json()["code"])


async def test_a_crowd_at_the_end_of_a_token_rotates_once(
    redis_server: RedisServer, certified: Certified
) -> None:
    """Twenty at once: the provider, which would end the grant at a second use, sees no token twice."""
    async with running_proxy(redis_server, certified) as proxy:
        browser = await proxy.signed_in()
        before = len(certified.events("refresh_token.consumed"))
        answers = await asyncio.gather(*(browser.call("/bff/refresh", "POST") for _ in range(20)))
        assert {200} == {answer.status_code for answer in answers}
        assert before < len(certified.events("refresh_token.consumed"))
        assert 200 == (await browser.call("/bff/refresh", "POST")).status_code
    assert [] == [event for event in certified.events("grant.error") if "refresh" in (event["grant"] or "")]


@pytest.mark.requirement("L-01")
async def test_alice_signs_out_here_and_there(redis_server: RedisServer, certified: Certified) -> None:
    """The grant is revoked; the provider's own page asks once, and comes back to ours."""
    async with running_proxy(redis_server, certified) as proxy:
        browser = await proxy.signed_in()
        handle = browser.handle
        revoked = len(certified.events("grant.revoked"))
        answer = await browser.call("/bff/logout", "POST")
        assert {"redirect": "/bff/logout/continue", "provider_revoked": True, "provider_sign_out": True} == (
            answer.json()
        )
        assert revoked < len(certified.events("grant.revoked"))
        page = await browser.follow(await browser.client.get("/bff/logout/continue"))
        assert "id_token_hint" in str(page.url)
        landed = await submit(browser, page, ["logout"])
        assert f"{certified.base}/" == str(landed.url)
        assert 401 == (await browser.user()).status_code
        assert handle is not None


@pytest.mark.requirement("L-04", "L-05")
@pytest.mark.parametrize("settings", [{}, by_key(EC_KEY)], ids=["basic", "by-key"])
async def test_who_signs_out_there_is_signed_out_here(
    redis_server: RedisServer, certified: Certified, settings: dict[str, Any]
) -> None:
    """By the back channel: the session of that sign-in ends at once, another browser's does not."""
    async with running_proxy(redis_server, certified, **settings) as proxy:
        browser, other = await proxy.signed_in(), await proxy.signed_in()
        page = await browser.client.get(f"{certified.url}/session/end")
        await submit(browser, page, ["logout"])
        gone = await browser.user()
        assert (401, "session_ended", "provider_logout") == (
            gone.status_code,
            gone.json()["code"],
            gone.json()["reason"],
        )
        assert 200 == (await other.user()).status_code
    assert [] == certified.events("backchannel.error")
    assert [] != certified.events("backchannel.success")


@pytest.mark.requirement("O-15")
async def test_tokens_are_for_the_api_that_was_named(redis_server: RedisServer, certified: Certified) -> None:
    """`resource` in the authorization request, with the code and at each rotation: the audience stays."""
    async with running_proxy(redis_server, certified, resource=[API]) as proxy:
        browser = await proxy.signed_in()
        audiences = [payload_of(await proxy.token(browser))["aud"]]
        assert 200 == (await browser.call("/bff/refresh", "POST")).status_code
        audiences.append(payload_of(await proxy.token(browser))["aud"])
    assert [API, API] == audiences


@pytest.mark.requirement("O-14")
async def test_a_provider_may_demand_what_is_pushed(redis_server: RedisServer) -> None:
    """Where nothing else is accepted sign-in works by itself, with a key as well."""
    with certified_provider(require_pushed=True) as certified:
        async with running_proxy(redis_server, certified, **by_key(RSA_KEY)) as proxy:
            assert 200 == (await (await proxy.signed_in()).user()).status_code
        async with running_proxy(redis_server, certified, par="never") as proxy:
            browser = await proxy.browser()
            await browser.sign_in()
            assert browser.handle is None
        assert 1 == len(certified.events("pushed_authorization_request.success"))
