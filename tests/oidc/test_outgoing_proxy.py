"""Calls to the provider through an outgoing proxy, on real sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bff.embedded import free_port
from bff.errors import ProviderUnavailableError
from bff.oidc.http import AnswerLateError, AnswerLostError, CallWithdrawnError, ProviderHttp, Sending
from bff.oidc.http_clients import Certificates
from bff.settings.outgoing_proxy import OutgoingProxy
from tests.oidc.test_http import FORM, ok, scripted
from tests.support.network.http_proxy import http_proxy
from tests.support.network.tls import self_signed, server_tls

REFUSALS = ["407 Proxy Authentication Required", "502 Bad Gateway", "403 Forbidden"]


@asynccontextmanager
async def wire(
    proxy: str, *, ca_file: Path | None = None, seconds: float = 10.0, **environ: str
) -> AsyncIterator[ProviderHttp]:
    choice = OutgoingProxy.choose(SecretStr(proxy), environ)
    made = ProviderHttp(timeout=seconds, certificates=Certificates(ca_file), proxy=choice)
    try:
        yield made
    finally:
        await made.aclose()


@pytest.mark.requirement("T-09")
async def test_an_https_provider_is_reached_through_a_tunnel(tmp_path: Path) -> None:
    """The proxy sees a CONNECT and nothing of the form; what counts as sent is the form's own request."""
    certificate = self_signed(tmp_path)
    told: list[tuple[str, int]] = []
    async with (
        scripted(ok(b'{"a": 1}'), tls=server_tls(certificate)) as provider,
        http_proxy() as proxy,
        wire(proxy.url.replace("//", "//me:s3cret@"), ca_file=certificate.cert) as made,
    ):

        def look(*, allowed: bool = True) -> bool:
            told.append(("look", len(provider.requests)))
            return allowed

        sending = Sending(may_send=look, sent=lambda: told.append(("sent", len(proxy.heads))))
        assert {"a": 1} == (await made.post(provider.base + "/token", FORM, sending)).json()
        assert [("look", 0), ("sent", 1)] == told
        assert {"a": 1} == (await made.get(provider.base + "/keys")).json()
        assert [b"CONNECT", b"CONNECT"] == proxy.methods
        assert b"Proxy-Authorization: Basic bWU6czNjcmV0\r\n" in proxy.heads[0]
        assert b"proxy-authorization" not in b"".join(provider.requests).lower()
        with pytest.raises(CallWithdrawnError):
            await made.post(provider.base, FORM, Sending(may_send=lambda: look(allowed=False)))
        assert 2 == len(provider.requests)


async def test_a_plain_http_provider_is_asked_in_absolute_form() -> None:
    """The proxy reads the request, and passes it on."""
    async with scripted(ok(b'{"a": 1}')) as provider, http_proxy() as proxy, wire(proxy.url) as made:
        assert {"a": 1} == (await made.post(provider.base + "/token", FORM)).json()
        assert proxy.heads[0].startswith(f"POST {provider.base}/token HTTP/1.1\r\n".encode())
        assert provider.requests[0].startswith(b"POST /token HTTP/1.1\r\n")
        assert provider.requests[0].endswith(b"refresh_token=r3fr3sh")


@pytest.mark.requirement("T-09")
@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_refused_tunnel_has_sent_nothing(tmp_path: Path, refusal: str) -> None:
    """Whatever the proxy's status: the form has not left, and the message tells who refused."""
    certificate = self_signed(tmp_path)
    told: list[str] = []
    async with (
        scripted(ok(), tls=server_tls(certificate)) as provider,
        http_proxy() as proxy,
        wire(proxy.url, ca_file=certificate.cert) as made,
    ):
        proxy.refusal = refusal.encode()
        for call in (
            made.post(provider.base, FORM, Sending(sent=lambda: told.append("sent"))),
            made.get(provider.base),
        ):
            with pytest.raises(ProviderUnavailableError) as caught:
                await call
            assert not isinstance(caught.value, AnswerLostError)
            assert f"the proxy refused ({refusal[:3]})" in str(caught.value)
            assert None is caught.value.__cause__ is caught.value.__context__
        assert ([], []) == (told, provider.requests)


@pytest.mark.requirement("T-09")
async def test_a_refused_absolute_form_has_gone_no_further_where_the_status_says_so() -> None:
    """407 is the proxy's alone; 502 may be the provider's, or tell of a connection that broke later."""
    async with scripted(ok()) as provider, http_proxy() as proxy, wire(proxy.url) as made:
        proxy.refusal = REFUSALS[0].encode()
        with pytest.raises(ProviderUnavailableError) as caught:
            await made.post(provider.base, FORM)
        assert not isinstance(caught.value, AnswerLostError)
        proxy.refusal = REFUSALS[1].encode()
        assert 502 == (await made.post(provider.base, FORM)).status


@pytest.mark.requirement("T-09", "T-17")
async def test_a_silent_proxy_is_not_waited_for_as_long_as_an_answer(tmp_path: Path) -> None:
    """Its tunnel is a part of connecting: however patient the call, it ends soon, and has sent nothing."""
    certificate = self_signed(tmp_path)
    async with (
        scripted(ok(), tls=server_tls(certificate)) as provider,
        http_proxy() as proxy,
        wire(proxy.url, ca_file=certificate.cert, seconds=0.5) as made,
    ):
        proxy.silent = True
        with pytest.raises(ProviderUnavailableError) as caught:
            await made.post(provider.base, FORM, Sending(patience=3600.0))
        assert not isinstance(caught.value, AnswerLostError)


@pytest.mark.requirement("T-17")
async def test_an_answer_through_a_tunnel_is_waited_for_with_the_calls_own_patience(tmp_path: Path) -> None:
    """The bound on connecting ends with the tunnel; an answer that is late by then is late, not lost."""
    certificate = self_signed(tmp_path)
    async with (
        scripted(ok(b"x" * 100), tls=server_tls(certificate)) as provider,
        http_proxy() as proxy,
        wire(proxy.url, ca_file=certificate.cert, seconds=5.0) as made,
    ):
        provider.drip = 0.05  # some seven seconds in all
        assert 200 == (await made.post(provider.base, FORM, Sending(patience=60.0))).status
        provider.drip = 60.0
        with pytest.raises(AnswerLateError):
            await made.post(provider.base, FORM, Sending(patience=1.0))


@pytest.mark.requirement("T-09")
async def test_a_proxy_that_is_not_there_is_a_provider_out_of_reach() -> None:
    """Nothing goes around it."""
    async with scripted(ok()) as provider, wire(f"http://127.0.0.1:{free_port()}") as made:
        with pytest.raises(ProviderUnavailableError) as caught:
            await made.post(provider.base, FORM)
        assert not isinstance(caught.value, AnswerLostError)
        assert [] == provider.requests


async def test_the_environment_counts_where_the_setting_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """`NO_PROXY` too; without the setting no variable sends a call elsewhere."""
    async with scripted(ok()) as provider, http_proxy() as proxy:
        environ: Any = {"HTTP_PROXY": proxy.url}
        async with wire("environment", **environ) as made:
            assert 200 == (await made.get(provider.base)).status
        assert [b"GET"] == proxy.methods
        async with wire("environment", NO_PROXY="localhost,127.0.0.0/8", **environ) as made:
            assert 200 == (await made.get(provider.base)).status
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        plain = ProviderHttp(timeout=10)
        assert 200 == (await plain.get(provider.base)).status
        await plain.aclose()
        assert [b"GET"] == proxy.methods
        assert 3 == len(provider.requests)
