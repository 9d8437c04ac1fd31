"""The certified provider, the proxy as its client, and a browser for both."""

import base64
import json
import re
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from joserfc.jwk import ECKey, KeySet

from bff.app import App
from bff.crypto import new_secret
from bff.embedded import free_port
from bff.settings.model import Settings
from tests.node.packages import program
from tests.support.keys import rsa_key
from tests.support.network.backend import Backend, Handler, Received, Reply, backend
from tests.support.network.tls import Certificate, self_signed
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import JSON, Browser, serving
from tests.support.settings import PATIENCE

SECRET = "a-secret-that-is-long-enough-for-the-provider"
EC_KEY = ECKey.generate_key("P-256", {"kid": "ec-of-the-bff"})
RSA_KEY = rsa_key({"kid": "rsa-of-the-bff", "alg": "PS256"})
API = "https://orders.example/"
BY_SECRET = {"client_secret": SECRET}


def by_key(key: Any) -> dict[str, Any]:
    """Settings of a proxy that signs."""
    text = json.dumps(key.as_dict(private=True))
    return {"client_id": "by-key", "client_auth": "private_key_jwt", "client_key": text}


_HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)"')
_ACTION = re.compile(r'<form[^>]* action="([^"]*)"')


@dataclass
class Certified:
    """The provider that serves, and where the proxy has to be for it."""

    url: str
    port: int  # the proxy's
    server: Certificate  # where it takes certificates of clients
    client: Certificate  # that of the client "by-certificate"

    @property
    def base(self) -> str:
        """The proxy's own origin."""
        return f"http://localhost:{self.port}"

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """What happened at the provider, of one kind or all."""
        told: list[dict[str, Any]] = httpx.get(f"{self.url}/__events").json()
        return [event for event in told if name in ("", event["name"])]


@contextmanager
def certified_provider(*, require_pushed: bool = False) -> Iterator[Certified]:
    """Starts it, with one client for each way of authentication."""
    with tempfile.TemporaryDirectory(prefix="bff-certified-") as folder:
        yield from _serving(Path(folder), require_pushed=require_pushed)


def _serving(folder: Path, *, require_pushed: bool) -> Iterator[Certified]:
    port, proxy, mtls = free_port(), free_port(), free_port()
    server, client = self_signed(folder), self_signed(folder, "client")
    client.key.chmod(0o600)
    certified = Certified(f"http://localhost:{port}", proxy, server, client)
    common = {
        "redirect_uris": [f"{certified.base}/bff/callback"],
        "post_logout_redirect_uris": [f"{certified.base}/"],
        "backchannel_logout_uri": f"{certified.base}/bff/backchannel-logout",
        "backchannel_logout_session_required": True,
        "grant_types": ["authorization_code", "refresh_token"],
        "authorization_details_types": ["accounts", "payment"],
    }
    keys = KeySet([EC_KEY, RSA_KEY]).as_dict(private=False)
    ways: list[dict[str, Any]] = [
        {**BY_SECRET, "client_id": "by-basic", "token_endpoint_auth_method": "client_secret_basic"},
        {**BY_SECRET, "client_id": "by-post", "token_endpoint_auth_method": "client_secret_post"},
        {"jwks": keys, "client_id": "by-key", "token_endpoint_auth_method": "private_key_jwt"},
        {
            "jwks": {"keys": [_of_certificate(client)]},
            "client_id": "by-certificate",
            "token_endpoint_auth_method": "self_signed_tls_client_auth",
            "tls_client_certificate_bound_access_tokens": True,
        },
    ]
    ways += [
        {**ways[2], "client_id": "by-jar", "require_signed_request_object": True},
        {**ways[3], "client_id": "by-fapi", "id_token_signed_response_alg": "ES256"},
        {**ways[2], "client_id": "by-fapi-key", "id_token_signed_response_alg": "ES256"},
    ]
    told = {
        "issuer": certified.url,
        "port": port,
        "clients": [{**client, **common} for client in ways],
        "requirePushed": require_pushed,
        "resources": [API],
        "mtls": {"port": mtls, "cert": str(server.cert), "key": str(server.key)},
    }
    with program("provider.mjs", json.dumps(told)) as running:
        assert running.line() == "ready"
        yield certified


def _of_certificate(certificate: Certificate) -> dict[str, Any]:
    """The public key of a certificate as a JWK that holds it (RFC 7517 4.7)."""
    pem = certificate.cert.read_bytes()
    der = x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
    key = x509.load_pem_x509_certificate(pem).public_key()
    text = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return {**ECKey.import_key(text).as_dict(private=False), "x5c": [base64.b64encode(der).decode()]}


@dataclass
class Proxy:
    """The proxy that serves, and the backend behind its route `/api`."""

    certified: Certified
    backend: Backend
    browsers: list[Browser]

    async def browser(self) -> Browser:
        """A new one, with nothing in it."""
        browser = Browser(self.certified.base)
        self.browsers.append(browser)
        return browser

    async def signed_in(self) -> Browser:
        """One in which alice is signed in: the provider asks nothing."""
        browser = await self.browser()
        await browser.sign_in()
        assert browser.handle is not None, browser.answers[-1].text
        return browser

    async def token(self, browser: Browser) -> str:
        """The access token that the backend gets for a call of this browser."""
        answer = await browser.call("/api/orders")
        assert answer.status_code == 200, answer.text
        seen: str = answer.json()["bearer"]
        return seen


async def _answer(request: Received) -> Reply:
    values = [value.decode() for name, value in request.headers if name.lower() == b"authorization"]
    body = json.dumps({"bearer": values[0].removeprefix("Bearer ")}).encode()
    return Reply(body=body, headers=[JSON])


@asynccontextmanager
async def running_proxy(
    redis: RedisServer, certified: Certified, *, reply: Handler = _answer, **provider: Any
) -> AsyncIterator[Proxy]:
    """The proxy as a client of the certified provider; by default it sends its secret by HTTP Basic."""
    async with backend(reply) as upstream:
        settings = Settings.model_validate(
            {
                "server": {"public_url": certified.base, "ops_port": None},
                "redis": {"url": redis.url, "timeout": PATIENCE},
                "session": {"keys": [new_secret()]},
                "provider": {
                    "issuer": certified.url,
                    "client_id": "by-basic",
                    "scopes": ["openid", "profile", "offline_access"],
                    **({} if {"client_key", "client_cert_file"} & set(provider) else BY_SECRET),
                    **provider,
                },
                "route": [{"path": "/api", "upstream": upstream.url}],
            }
        )
        app = App(settings)
        async with serving(app, certified.port):
            proxy = Proxy(certified, upstream, [])
            try:
                yield proxy
            finally:
                for browser in proxy.browsers:
                    await browser.client.aclose()


async def submit(browser: Browser, page: httpx.Response, names: Sequence[str] = ()) -> httpx.Response:
    """Sends the form of one of the provider's pages, with the buttons named, and follows."""
    action = _ACTION.search(page.text)
    assert action is not None, page.text
    form = {**dict(_HIDDEN.findall(page.text)), **dict.fromkeys(names, "yes")}
    answer = await browser.client.post(str(page.url.join(action[1])), data=form)
    return await browser.follow(answer)


def sent(url: str) -> dict[str, str]:
    """The query of a URL."""
    return dict(parse_qsl(urlsplit(url).query))
