"""A client of the issuer, written out by hand: nothing of the proxy takes part."""

import base64
import hashlib
import json
import secrets
from typing import Any, Protocol, Self

import httpx

from tests.support.providers.issuer import ALICE, CLIENT_ID, CLIENT_SECRET, query_of, sign_in_at

REDIRECT_URI = "http://localhost:8080/bff/callback"
CREDENTIALS = (CLIENT_ID, CLIENT_SECRET)
SCOPE = "openid profile email offline_access"


def challenge_of(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def payload_of(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims


class Addressed(Protocol):
    """Whatever is an issuer: in this process, or in another."""

    url: str


class Person:
    """A browser at the issuer, and the client that sent it there."""

    def __init__(self, issuer: Addressed) -> None:
        self.issuer = issuer
        self.http = httpx.Client(timeout=60)
        self.verifier = secrets.token_urlsafe(40)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def request(self, **changes: str | None) -> dict[str, str]:
        """The parameters of an authorization request; None leaves one out."""
        parameters: dict[str, str | None] = {
            "response_type": "code",
            "client_id": CLIENT_ID,
            "redirect_uri": REDIRECT_URI,
            "scope": SCOPE,
            "state": "the-state",
            "nonce": "the-nonce",
            "code_challenge": challenge_of(self.verifier),
            "code_challenge_method": "S256",
            **changes,
        }
        return {name: value for name, value in parameters.items() if value is not None}

    def authorize(self, **changes: str | None) -> httpx.Response:
        return self.http.get(f"{self.issuer.url}/authorize", params=self.request(**changes))

    def code(self, who: tuple[str, str] = ALICE, **changes: str | None) -> str:
        """Signs in, if asked to, and returns the code."""
        answer = self.authorize(**changes)
        if answer.status_code == 200:
            answer = sign_in_at(answer, self.http, who)
        assert answer.status_code == 303, answer.text
        return query_of(answer.headers["location"])["code"]

    def token(self, form: dict[str, str], auth: tuple[str, str] | None = CREDENTIALS) -> httpx.Response:
        how = httpx.Auth() if auth is None else httpx.BasicAuth(*auth)
        return self.http.post(f"{self.issuer.url}/token", data=form, auth=how)

    def exchange(self, code: str, **changes: str) -> httpx.Response:
        return self.token({**self.code_form(code), **changes})

    def code_form(self, code: str) -> dict[str, str]:
        """The token request for a code, without the client's credentials."""
        form = {"grant_type": "authorization_code", "code": code, "code_verifier": self.verifier}
        return {**form, "redirect_uri": REDIRECT_URI}

    def refresh(self, refresh_token: str, **more: str) -> httpx.Response:
        return self.token({"grant_type": "refresh_token", "refresh_token": refresh_token, **more})

    def tokens(self, who: tuple[str, str] = ALICE, **changes: str | None) -> dict[str, Any]:
        """Signs in and exchanges the code."""
        answer = self.exchange(self.code(who, **changes))
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body
