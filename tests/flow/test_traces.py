"""What a whole life of a session leaves in logs and metrics."""

import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest

from bff.observe.logs import configure
from bff.settings.model import LogSettings
from tests.support.network.backend import Received, Reply
from tests.support.processes.world import World

JWT = re.compile(r"eyJ[A-Za-z0-9_-]{8,}")


@pytest.mark.requirement("B-24", "B-27", "B-08")
async def test_logs_tell_who_and_when_and_no_secret(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    """At the chattiest level: sign-in, calls, faults, rotation, refusals, sign-out; and no secret."""
    configure(LogSettings(level="debug", format="json"))
    browser = await world.signed_in()
    handle = browser.handle
    assert handle is not None
    await browser.call("/api/orders?token=in-the-query")
    world.clock.ahead = 400
    await browser.call("/api/orders")

    async def broken(_: Received) -> Reply | None:
        return None

    world.reply = broken
    await browser.call("/api/orders")
    await browser.client.get("/api/orders", headers={"Cookie": f"bff={handle}; bff={handle}", "X-CSRF": "1"})
    await browser.client.get("/api/orders")
    await browser.client.get("/bff/user")
    await browser.client.get("/bff/callback?code=forged-code-1234567890&state=forged-state-1234567890")
    await browser.call("/bff/logout", "POST")

    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    events = {json.loads(line)["event"] for line in lines if json.loads(line).get("audit")}
    assert {
        "signed_in",
        "tokens_refreshed",
        "handle_rejected",
        "csrf_rejected",
        "session_ended",
        "signed_out",
    } <= events
    told = "\n".join(lines)
    assert not JWT.search(told)
    forms = [form for _, _, form in world.issuer.seen.requests]
    secrets = {
        form[name] for form in forms for name in form.keys() & {"code", "code_verifier", "refresh_token"}
    }
    sent = [parse_qs(urlsplit(str(answer.url)).query) for answer in browser.answers]
    secrets |= {
        value for query in sent for name in ("state", "code", "nonce") for value in query.get(name, [])
    }
    secrets |= {handle, world.issuer.client_secret, "in-the-query"}
    assert len(secrets) >= 8
    assert [] == [secret for secret in secrets if secret in told]
    metrics = world.app.metrics.render()[0].decode()
    assert [] == [secret for secret in secrets if secret in metrics]
    for line in (
        'bff_logins_total{outcome="signed_in"} 1.0',
        'bff_refreshes_total{cause="expiry",outcome="rotated"} 1.0',
        "bff_sessions_started_total 1.0",
        'bff_sessions_ended_total{reason="logout"} 1.0',
        'bff_problems_total{code="csrf_rejected"} 2.0',
    ):
        assert line in metrics


async def test_store_and_provider_failures_are_counted(world: World) -> None:
    """Each failed call to Redis, the provider and a backend is a count that an alert can watch."""
    browser = await world.signed_in()
    world.issuer.stop()
    world.clock.ahead = 400
    assert 503 == (await browser.call("/api/orders")).status_code
    world.issuer.start()
    world.clock.ahead = 0
    world.redis.stop()
    assert 503 == (await browser.call("/api/orders")).status_code
    metrics = world.app.metrics.render()[0].decode()
    assert 'bff_provider_errors_total{call="refresh"} 1.0' in metrics
    assert 'bff_refreshes_total{cause="expiry",outcome="deferred"} 1.0' in metrics
    failed = world.app.metrics.registry.get_sample_value("bff_store_errors_total")
    assert 1 <= (failed or 0), "parts beside it fail too"
