"""Sign-ins and calls with tokens, keys and proofs of every kind: none is in a log, a metric or a trace."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc.jwk import ECKey, KeySet

from bff.observe.logs import configure
from bff.observe.otel_setup import OpenTelemetry
from bff.session.sessions import Found
from bff.settings.model import LogSettings
from tests.flow.test_token_kinds import ROUTES
from tests.flow.test_tracing import ON, kept_in_memory
from tests.issuer.flow import payload_of
from tests.support.network.backend import Received, Reply
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import Browser, World, running_world

KEY = ECKey.generate_key("P-256", {"kid": "the-proxys", "use": "sig"})
FORWARD_AUTH = "a-secret-of-the-reverse-proxy-00000"
SPENT = {"code", "code_verifier", "refresh_token", "client_assertion", "request", "token", "subject_token"}
CLIENT = {
    "client_secret": None,
    "jwks": KeySet([KEY]).as_dict(private=False),
    "audiences": ["orders", "stock", "open"],
    "client_credentials": [],
    "require_par": True,
    "require_dpop": True,
    "require_request_object": True,
    "dpop_nonce": True,
}
PROVIDER = {
    "client_secret": None,
    "client_auth": "private_key_jwt",
    "client_key": json.dumps(KEY.as_dict(private=True)),
    "token_binding": "dpop",
    "request_object": True,
}


async def secrets_of(world: World, browser: Browser, handle: str) -> set[str]:
    """All that was sent or kept, and that nobody else may know."""
    found = await world.app.sessions.open(handle)
    kept = [] if not isinstance(found, Found) else [found.session.tokens.proof_key or ""]
    forms = [form for _, _, form in world.issuer.seen.requests]
    sent = [form[name] for form in forms for name in form.keys() & SPENT]
    asked = [payload_of(form["request"]) for form in forms if "request" in form]
    queries = [parse_qs(urlsplit(str(answer.url)).query) for answer in browser.answers]
    shown = [value for query in queries for name in ("state", "code", "sid") for value in query.get(name, [])]
    proofs = [
        value.decode().rpartition(" ")[2]
        for request in world.backend.requests
        for name in (b"authorization", b"dpop")
        for value in request.values(name)
    ]
    return {
        *kept,
        *sent,
        *shown,
        *proofs,
        *(claims[name] for claims in asked for name in ("state", "nonce")),
        handle,
        *handle.split("."),
        *(cookie.value or "" for cookie in browser.client.cookies.jar if cookie.name.startswith("bff")),
        KEY.as_dict(private=True)["d"],
        FORWARD_AUTH,
        *(key.get_secret_value() for key in world.app.settings.session.keys),
    } - {""}


@pytest.mark.requirement("B-24", "B-27", "P-03")
async def test_tokens_of_every_kind(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Good calls, a provider and a backend that repeat what they were sent, refusals, and a sign-out."""
    memory = kept_in_memory(monkeypatch)
    configure(LogSettings(level="debug", format="json"))
    async with running_world(
        redis_server,
        routes=ROUTES,
        client=CLIENT,
        provider=PROVIDER,
        telemetry=ON,
        forward_auth={"secrets": [FORWARD_AUTH]},
    ) as world:
        browser = await world.signed_in()
        handle = browser.handle or ""
        for path in ("/api/orders", *(f"{route['path']}/x" for route in ROUTES)):
            await browser.call(path)
        asking = {"BFF-Forward-Auth": FORWARD_AUTH, "X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/api/x"}
        await browser.call("/bff/forward-auth", headers=asking)
        assert 200 == (await browser.call("/bff/refresh", "POST")).status_code
        secrets = await secrets_of(world, browser, handle)

        async def echoing(request: Received) -> Reply:
            """Repeats what it was sent, in the challenge of a 401."""
            sent = b" ".join(value for _, value in request.headers)
            return Reply(
                status=401, headers=[(b"www-authenticate", b'Bearer error="%b"' % sent.hex().encode())]
            )

        world.reply = echoing
        await browser.call("/api/orders")
        everything = " ".join(secrets)
        refusal: dict[str, Any] = {"error": "access_denied", "error_description": everything}
        world.issuer.seen.answer = (400, json.dumps(refusal).encode())
        await browser.call("/bff/refresh", "POST")
        await browser.call("/exchange/y")
        world.issuer.seen.answer = None
        for cookie in (f"bff={handle}; bff={handle}", f"bff={handle}x"):
            await browser.client.get("/api/orders", headers={"Cookie": cookie})
        await browser.client.get(f"/bff/logout?sid={'A' * 43}")
        await browser.call("/bff/logout", "POST")
        secrets |= await secrets_of(world, browser, handle)
        telemetry = world.app.shared.telemetry
        assert isinstance(telemetry, OpenTelemetry)
        assert telemetry._provider is not None
        telemetry._provider.force_flush()
        spans = repr(
            [(span.name, dict(span.attributes or {}), span.events) for span in memory.get_finished_spans()]
        )
        metrics = world.app.metrics.render()[0].decode()
    logs = capfd.readouterr().err
    assert len(secrets) > 40
    assert len(spans) > 1000
    for name, text in (("logs", logs), ("metrics", metrics), ("traces", spans)):
        found = [secret for secret in secrets if len(secret) > 5 and secret in text]
        assert [] == found, (name, [line for line in text.splitlines() if any(one in line for one in found)])
