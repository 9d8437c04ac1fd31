"""A provider that does as it is told: it signs whatever the test wants an ID token to say.

It is served on a real socket, and keeps what it was sent. `bff.issuer` is the one that behaves.
"""

import asyncio
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from joserfc import jwt
from starlette.types import Receive, Scope, Send

from bff.embedded import free_port
from tests.support.keys import rsa_key
from tests.support.providers.issuer import ServedApp

KEY = rsa_key({"kid": "one", "use": "sig"})
Signer = Callable[[dict[str, Any]], str]


def sign(claims: dict[str, Any]) -> str:
    """An honest signature."""
    return jwt.encode({"alg": "RS256", "kid": "one"}, claims, KEY)


def _named_after(code: str) -> str:
    """A code as part of a token: no token has blanks, or other signs that no header field may have."""
    return code if re.fullmatch("[!-~]+", code) else hashlib.sha256(code.encode()).hexdigest()


@dataclass
class Provider:
    """The stub. Set an attribute, and the next answer is so.

    Attributes:
        claims: claims of the ID token that differ from honest ones; None leaves a claim out.
        signer: what makes a token of the claims.
        token_answer: (status, JSON) instead of the honest answer of the token endpoint.
        userinfo_answer: (status, JSON) of the userinfo endpoint; None: there is none.
        iss_parameter: whether the discovery document promises `iss`, and callbacks carry it.
        revoked: the tokens that were revoked.
        codes: the forms that the token endpoint was sent.
        without_refresh: whether the token endpoint gives no refresh token.
        slow: seconds that every answer takes.
        revocation_held: whether revocations wait, until it is false again.
    """

    base: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    signer: Signer = sign
    token_answer: tuple[int, Any] | None = None
    userinfo_answer: tuple[int, Any] | None = None
    iss_parameter: bool = True
    end_session: bool = True
    without_refresh: bool = False
    revoked: list[str] = field(default_factory=list)
    codes: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    slow: float = 0.0
    revocation_held: bool = False
    nonces: dict[str, str] = field(default_factory=dict)

    def answer_to(self, location: str, **changes: str | None) -> str:
        """The callback's path and query, as if the user had signed in at the given authorization URL."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        code = f"code-{len(self.nonces) + 1}"
        self.nonces[code] = asked["nonce"]
        answer: dict[str, str | None] = {"code": code, "state": asked["state"]}
        if self.iss_parameter:
            answer["iss"] = self.base
        query = {name: value for name, value in (answer | changes).items() if value is not None}
        return f"{urlsplit(asked['redirect_uri']).path}?{urlencode(query)}"

    def expect(self, code: str, location: str) -> None:
        """Takes this code, too, for the sign-in of the given authorization URL."""
        self.nonces[code] = parse_qs(urlsplit(location).query)["nonce"][0]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        body = (await receive()).get("body", b"")
        form = dict(parse_qsl(body.decode()))
        self.paths.append(scope["path"])
        await asyncio.sleep(self.slow)
        while self.revocation_held and scope["path"] == "/revoke":  # noqa: ASYNC110 - let go by another thread
            await asyncio.sleep(0.005)
        status, document = self._answer(scope["path"], form)
        content = json.dumps(document).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def _answer(self, path: str, form: dict[str, str]) -> tuple[int, Any]:
        match path:
            case "/.well-known/openid-configuration" | "/.well-known/ssf-configuration":
                return 200, self._metadata()
            case "/jwks":
                return 200, {"keys": [KEY.as_dict(private=False)]}
            case "/token":
                self.codes.append(form)
                return self.token_answer or self._tokens(form)
            case "/userinfo" if self.userinfo_answer is not None:
                return self.userinfo_answer
            case "/revoke":
                self.revoked.append(form["token"])
                return 200, {}
        return 404, {}

    def _metadata(self) -> dict[str, Any]:
        names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "jwks"}
        names |= {"revocation_endpoint": "revoke"}
        if self.userinfo_answer is not None:
            names["userinfo_endpoint"] = "userinfo"
        if self.end_session:
            names["end_session_endpoint"] = "end"
        endpoints = {name: f"{self.base}/{path}" for name, path in names.items()}
        promise = {"authorization_response_iss_parameter_supported": self.iss_parameter}
        return {"issuer": self.base, **endpoints, **promise}

    def _tokens(self, form: dict[str, str]) -> tuple[int, Any]:
        now = int(time.time())
        nonce = self.nonces.pop(form.get("code", ""), None)
        if nonce is None:
            return 400, {"error": "invalid_grant"}
        honest = {
            "iss": self.base,
            "sub": "alice",
            "aud": "spa-bff",
            "exp": now + 60,
            "iat": now,
            "nonce": nonce,
            "sid": "provider-session",
            "name": "Alice",
        }
        claims = {name: value for name, value in (honest | self.claims).items() if value is not None}
        name = _named_after(form["code"])
        refresh = {} if self.without_refresh else {"refresh_token": f"refresh-of-{name}"}
        return 200, refresh | {
            "access_token": f"access-of-{name}",
            "token_type": "Bearer",
            "expires_in": 60,
            "id_token": self.signer(claims),
        }


async def _lifespan(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


class ServedProvider(Provider):
    """One that can be stopped and started again on its port."""

    def serve(self) -> None:
        port = free_port()
        self.base = f"http://127.0.0.1:{port}"
        self._served = ServedApp(self, port)
        self._served.start()

    def start(self) -> None:
        self._served.start()

    def stop(self) -> None:
        self._served.stop()


@contextmanager
def running_provider() -> Iterator[ServedProvider]:
    """A provider that serves."""
    provider = ServedProvider()
    provider.serve()
    try:
        yield provider
    finally:
        provider.stop()
