"""Rotations of real workers through a real proxy, to a token endpoint behind TLS."""

import asyncio
from pathlib import Path

import pytest

from tests.support.network.http_proxy import http_proxy
from tests.support.network.relay import relay_to
from tests.support.network.tls import self_signed, server_tls
from tests.support.processes.fleet import running_fleet
from tests.support.processes.redis import RedisServer
from tests.support.providers.rotating import rotating_provider


@pytest.mark.requirement("T-09")
@pytest.mark.parametrize("refusal", ["407 Proxy Authentication Required", "502 Bad Gateway"])
async def test_a_proxy_that_refuses_spends_no_refresh_token(
    redis_server: RedisServer, tmp_path: Path, refusal: str
) -> None:
    """No marker stays behind, and the session goes on as soon as the proxy lets the call through."""
    certificate = self_signed(tmp_path)
    with rotating_provider() as provider:
        async with (
            relay_to(provider.port, server_tls(certificate)) as tls,
            http_proxy() as proxy,
            running_fleet(
                redis_server,
                provider,
                tmp_path,
                workers=1,
                provider={
                    "proxy": proxy.url,
                    "token_endpoint": f"https://127.0.0.1:{tls.port}/token",
                    "ca_file": str(certificate.cert),
                },
            ) as fleet,
        ):
            member = await fleet.member(expired=True)
            proxy.refusal, proxy.refuses_tunnels_alone = refusal.encode(), True
            answer = await fleet.call(member, worker=0)
            assert (503, "provider_unavailable") == (answer.status, answer.code)
            assert "refreshing" not in fleet.record(member)
            assert 0 == provider.refreshes
            assert f"the proxy refused ({refusal[:3]})" in fleet.workers[0].log()
            proxy.refusal = b""
            async with asyncio.timeout(60):
                while (await fleet.call(member, worker=0)).status != 200:  # noqa: ASYNC110 - a breaker waits
                    await asyncio.sleep(0.2)
            assert 1 == provider.refreshes
            assert not provider.reused
            assert b"CONNECT" in proxy.methods
            assert "refresh_token_sent_again" not in fleet.workers[0].log()
