"""A real issuer on a real socket, and a scripted person who signs in at it.

`running_issuer(redis_url, …)` starts one in a thread within some 100 ms. It counts calls of its token
endpoint, can be stopped and started again on its port, and can be told to misbehave for a while.
"""

import asyncio
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import uvicorn
from pydantic import SecretStr
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bff.embedded import free_port
from bff.issuer.app import create_app
from bff.issuer.keys.keys import SigningKey
from bff.issuer.settings import DEMO_USERS, ClientSettings, IssuerSettings, PasswordCost
from bff.issuer.store import redis as issuer_redis
from tests.support.settings import PATIENCE

issuer_redis.TIMEOUT = PATIENCE
CLIENT_ID = "spa-bff"
CLIENT_SECRET = "a-secret-of-the-tests"
AUDIENCE = "orders-api"
ALICE = ("alice@example.com", "wonderland")
BOB = ("bob@example.com", "builder")
CHEAP = PasswordCost(time=1, memory_kib=8, lanes=1)


@dataclass
class Recorder:
    """The issuer's recorded requests and its planned faults: a plain ASGI wrapper.

    Attributes:
        requests: (method, path, parameters of the form) of every request, in order.
        token_calls: calls of the token endpoint by grant type.
        delay: seconds that the token endpoint waits before it does anything.
        answer: a (status, JSON body) that the token endpoint gives instead of its own.
        drop_answers: the token endpoint does its work, and then breaks the connection.
    """

    app: ASGIApp
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    token_calls: Counter[str] = field(default_factory=Counter)
    delay: float = 0.0
    held: bool = False  # the token endpoint does nothing until a test lets it
    answer: tuple[int, bytes] | None = None
    drop_answers: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        parameters = dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
        self.requests.append((scope["method"], scope["path"], parameters))
        if scope["path"].endswith("/token"):
            self.token_calls[parameters.get("grant_type", "")] += 1
            while self.held:  # noqa: ASYNC110 - let go by another thread
                await asyncio.sleep(0.01)
            if self.delay:
                await asyncio.sleep(self.delay)
            if self.answer is not None:
                await _answer(send, *self.answer)
                return
            if self.drop_answers:
                await self.app(scope, _replay(body), _nowhere)
                start = {"type": "http.response.start", "status": 200}
                await send({**start, "headers": [(b"content-length", b"1000")]})
                return  # an answer without its body: uvicorn closes the connection
        await self.app(scope, _replay(body), send)

    def paths(self) -> list[str]:
        return [path for _, path, _ in self.requests]


def _replay(body: bytes) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()  # the client stays as long as the request does
        raise AssertionError("unreachable")

    return receive


async def _nowhere(_: Message) -> None:
    """Takes an answer that nobody gets."""


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class ServedApp:
    """An ASGI app on a loopback port, served by uvicorn in a thread; can be stopped and started again."""

    def __init__(self, app: ASGIApp, port: int, host: str = "127.0.0.1") -> None:
        self._app, self._host, self.port = app, host, port
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        config = uvicorn.Config(
            self._app,
            host=self._host,
            port=self.port,
            log_config=None,
            access_log=False,
            proxy_headers=False,
            lifespan="on",
            ws="none",
            timeout_graceful_shutdown=1,
        )
        self._server = server = uvicorn.Server(config)
        self._thread = threading.Thread(target=server.run, daemon=True, name=f"served:{self.port}")
        self._thread.start()
        deadline = time.monotonic() + 60
        while not server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError(f"the server on port {self.port} did not start")
            time.sleep(0.005)

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(PATIENCE)
            assert not self._thread.is_alive()
        self._server = self._thread = None


class RunningIssuer:
    """An issuer that serves. `url` is its identifier; `seen` its recorder."""

    def __init__(self, settings: IssuerSettings, port: int, key: SigningKey | None = None) -> None:
        self.settings = settings
        self.url = settings.url
        self.client_id = CLIENT_ID
        self.client_secret = CLIENT_SECRET
        self.seen = Recorder(create_app(settings, key))
        self._served = ServedApp(self.seen, port)

    def start(self) -> None:
        self._served.start()

    def stop(self) -> None:
        """Stops it: connections are refused, what it keeps in Redis stays."""
        self._served.stop()

    def restart(self, key: SigningKey | None = None) -> None:
        """Starts a new one on the same port, which signs with another key unless one is given."""
        self.stop()
        self.seen.app = create_app(self.settings, key)
        self.start()

    def use_access_token_lifetime(self, seconds: float) -> None:
        """Starts anew with another lifetime for access tokens."""
        self.settings = self.settings.model_copy(update={"access_token_lifetime": seconds})
        self.restart()


@contextmanager
def running_issuer(
    redis_url: str,
    redirect_uris: Sequence[str] = ("http://localhost:8080/bff/callback",),
    *,
    post_logout_redirect_uris: Sequence[str] = (),
    backchannel_logout_uri: str | None = None,
    access_token_lifetime: float = 300,
    refresh_token_lifetime: float = 3600,
    port: int | None = None,
    host: str = "localhost",
    path: str = "",
    key: SigningKey | None = None,
    client: Mapping[str, Any] | None = None,
    clients: Sequence[ClientSettings] = (),
    **more: Any,
) -> Iterator[RunningIssuer]:
    """An issuer with alice and bob, and the client `CLIENT_ID`, of which `client` changes settings.

    `more` are further settings of the issuer.
    """
    port = port or free_port()
    own = ClientSettings.model_validate(
        {
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "redirect_uris": tuple(redirect_uris),
            "post_logout_redirect_uris": tuple(post_logout_redirect_uris),
            "backchannel_logout_uri": backchannel_logout_uri,
            "name": "The sample app",
            **(client or {}),
        }
    )
    settings = IssuerSettings(
        url=f"http://{host}:{port}{path}",
        redis_url=SecretStr(redis_url),
        audience=AUDIENCE,
        clients=(own, *clients),
        users=DEMO_USERS,
        access_token_lifetime=access_token_lifetime,
        refresh_token_lifetime=refresh_token_lifetime,
        password_cost=CHEAP,
        **more,
    )
    issuer = RunningIssuer(settings, port, key)
    issuer.start()
    try:
        yield issuer
    finally:
        issuer.stop()


_FORM = re.compile(r'<form method="post" action="([^"]*)">.*?name="csrf" value="([^"]*)"', re.DOTALL)


def read_form(page: httpx.Response) -> tuple[str, str]:
    """Returns the address and the CSRF token of the form on a page of the issuer."""
    found = _FORM.search(page.text)
    assert found is not None, page.text
    return str(page.url.join(found[1].replace("&amp;", "&"))), found[2]


def sign_in_at(page: httpx.Response, client: httpx.Client, who: tuple[str, str] = ALICE) -> httpx.Response:
    """Fills in and sends the sign-in form, as a browser would; returns the answer, unfollowed."""
    action, csrf = read_form(page)
    email, password = who
    form = {"csrf": csrf, "email": email, "password": password}
    origin = f"{page.url.scheme}://{page.url.netloc.decode()}"
    headers = {"Origin": origin, "Sec-Fetch-Site": "same-origin"}
    return client.post(action, data=form, headers=headers, follow_redirects=False)


async def async_sign_in_at(
    page: httpx.Response, client: httpx.AsyncClient, who: tuple[str, str] = ALICE
) -> httpx.Response:
    """`sign_in_at` for an asynchronous client."""
    action, csrf = read_form(page)
    email, password = who
    form = {"csrf": csrf, "email": email, "password": password}
    origin = f"{page.url.scheme}://{page.url.netloc.decode()}"
    headers = {"Origin": origin, "Sec-Fetch-Site": "same-origin"}
    return await client.post(action, data=form, headers=headers, follow_redirects=False)


def query_of(location: str) -> dict[str, str]:
    """The query of a URL, each parameter once."""
    pairs = parse_qs(urlsplit(location).query, keep_blank_values=True)
    assert all(len(values) == 1 for values in pairs.values()), location
    return {name: values[0] for name, values in pairs.items()}
