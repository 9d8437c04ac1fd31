"""The issuer as an ASGI app: `create_app(settings)`. The only module that builds its parts."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import redis
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from bff.issuer.accounts import Accounts
from bff.issuer.authorize import AuthorizationEndpoint
from bff.issuer.browser import Browser
from bff.issuer.database import Database, connect
from bff.issuer.end_session import EndSessionEndpoint
from bff.issuer.endings import Endings
from bff.issuer.grants import create_server
from bff.issuer.http import (
    BadRequestError,
    check_client_authentication,
    error_answer,
    json_answer,
    public_json,
    read_form,
)
from bff.issuer.keys import ALGORITHM, SigningKey
from bff.issuer.pages import Pages
from bff.issuer.parts import Parts
from bff.issuer.protocol import Answer, ProtocolRequest
from bff.issuer.rates import SignInRates
from bff.issuer.settings import SCOPES, IssuerSettings
from bff.issuer.sign_in import SignInDesk
from bff.issuer.store import Store
from bff.issuer.tokens import Minter, personal_claims

_PAGES = ("/authorize", "/sign-in", "/end-session", "/sign-out")


def create_app(settings: IssuerSettings, key: SigningKey | None = None) -> Starlette:
    """Builds the issuer. Accounts that are missing are made when it starts; Redis must answer then.

    Args:
        settings: what it is told.
        key: the key that signs tokens; None makes a new one.
    """
    client = connect(settings.redis_url.get_secret_value())
    store = Store.on(Database(client, settings.prefix))
    endings = Endings(store)
    accounts = Accounts(client, settings.prefix, settings.password_cost)
    key = key or SigningKey.generate()
    minter = Minter(settings.url, settings.audience, key, settings.access_token_lifetime)
    server = create_server(settings, store, accounts, minter, endings)
    pages = Pages(settings.url)
    rates = SignInRates(client, settings.prefix, settings.sign_in_limits)
    desk = SignInDesk(settings, accounts, rates, store.sign_ins, endings)
    parts = Parts(settings, store, accounts, key, minter, endings, server, Browser(settings), pages, desk)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await run_in_threadpool(accounts.add_missing, settings.users)
        yield
        await run_in_threadpool(client.close)

    routes = _routes(parts)
    return Starlette(
        routes=[Mount(settings.path, routes=routes)] if settings.path else routes,
        lifespan=lifespan,
        exception_handlers={
            BadRequestError: _tell_bad_request(parts),
            redis.RedisError: _tell_store_down(parts),
        },
    )


def _routes(parts: Parts) -> list[BaseRoute]:
    authorization, leaving = AuthorizationEndpoint(parts), EndSessionEndpoint(parts)
    endpoints = _Endpoints(parts)
    return [
        Route("/.well-known/openid-configuration", endpoints.discovery),
        Route("/jwks", endpoints.jwks),
        Route("/authorize", authorization.authorize, methods=["GET", "POST"]),
        Route("/sign-in", authorization.sign_in, methods=["POST"]),
        Route("/token", endpoints.token, methods=["POST"]),
        Route("/revoke", endpoints.revoke, methods=["POST"]),
        Route("/userinfo", endpoints.userinfo, methods=["GET", "POST"]),
        Route("/end-session", leaving.end_session, methods=["GET", "POST"]),
        Route("/sign-out", leaving.sign_out, methods=["POST"]),
        Route("/healthz", endpoints.health),
    ]


class _Endpoints:
    """The endpoints that are no pages."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._discovery = discovery_document(parts.settings.url)

    async def discovery(self, _: Request) -> Response:
        """OpenID Connect Discovery 1.0."""
        return public_json(self._discovery, seconds=300)

    async def jwks(self, _: Request) -> Response:
        """The public keys."""
        return public_json({**self._parts.key.public_set()}, seconds=60)

    async def token(self, request: Request) -> Response:
        """RFC 6749 3.2."""
        protocol_request = await self._protocol_request(request)
        return _json(await run_in_threadpool(self._parts.server.create_token_response, protocol_request))

    async def revoke(self, request: Request) -> Response:
        """RFC 7009."""
        protocol_request = await self._protocol_request(request)
        answer = await run_in_threadpool(
            self._parts.server.create_endpoint_response, "revocation", protocol_request
        )
        return _json(answer)

    async def userinfo(self, request: Request) -> Response:
        """OpenID Connect Core 5.3: the token comes in the header, only."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        claims = None
        if scheme.lower() == "bearer":
            claims = self._parts.minter.read_access_token(token.strip(), int(time.time()))
        if claims is None:
            return _refuse_bearer(401, "invalid_token" if token else None)
        if "openid" not in claims["scope"].split():
            return _refuse_bearer(403, "insufficient_scope")
        account = await run_in_threadpool(self._parts.accounts.find, claims["sub"])
        if account is None:
            return _refuse_bearer(401, "invalid_token")
        return json_answer(personal_claims(account, claims["scope"]))

    async def health(self, _: Request) -> Response:
        """200 when Redis answers."""
        await run_in_threadpool(self._parts.store.database.ping)
        return json_answer({"status": "ok"})

    async def _protocol_request(self, request: Request) -> ProtocolRequest:
        form = await read_form(request)
        check_client_authentication(request, form)
        headers = {"Authorization": request.headers.get("authorization", "")}
        return ProtocolRequest(request.method, f"{self._parts.settings.url}/token", form, headers)


def discovery_document(url: str) -> dict[str, object]:
    """The metadata: what works here, and nothing else."""
    methods = ["client_secret_basic", "client_secret_post"]
    return {
        "issuer": url,
        "authorization_endpoint": f"{url}/authorize",
        "token_endpoint": f"{url}/token",
        "userinfo_endpoint": f"{url}/userinfo",
        "jwks_uri": f"{url}/jwks",
        "revocation_endpoint": f"{url}/revoke",
        "end_session_endpoint": f"{url}/end-session",
        "scopes_supported": list(SCOPES),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
        "code_challenge_methods_supported": ["S256"],
        "prompt_values_supported": ["none", "login", "select_account"],
        "claims_supported": ["sub", "name", "email", "auth_time", "amr", "sid", "nonce"],
        "authorization_response_iss_parameter_supported": True,
        "claims_parameter_supported": False,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "backchannel_logout_supported": False,
    }


def _json(answer: Answer) -> Response:
    return json_answer(answer.body, answer.status, dict(answer.headers))


def _refuse_bearer(status: int, error: str | None) -> Response:
    """RFC 6750 3: no error code where no token came."""
    challenge = f'Bearer error="{error}"' if error else "Bearer"
    return json_answer({"error": error or "unauthorized"}, status, {"WWW-Authenticate": challenge})


def _tell_bad_request(parts: Parts) -> Callable[[Request, Exception], Response]:
    def handle(request: Request, error: Exception) -> Response:
        assert isinstance(error, BadRequestError)
        if request.url.path.removeprefix(parts.settings.path) in _PAGES:
            return parts.pages.message("This does not work", str(error), error.status)
        return error_answer(error)

    return handle


def _tell_store_down(parts: Parts) -> Callable[[Request, Exception], Response]:
    def handle(request: Request, _: Exception) -> Response:
        if request.url.path.removeprefix(parts.settings.path) in _PAGES:
            text = "Signing in and out does not work at the moment. Please try again in a minute."
            response = parts.pages.message("Not available", text, 503)
        else:
            response = json_answer({"error": "temporarily_unavailable"}, 503)
        response.headers["Retry-After"] = "2"
        return response

    return handle
