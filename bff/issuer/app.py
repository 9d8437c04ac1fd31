"""The issuer as an ASGI app: `create_app(settings)`. The only module that builds its context."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import redis
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from bff.issuer.accounts.accounts import Accounts
from bff.issuer.accounts.rate_limits import SignInLimiter
from bff.issuer.accounts.sign_in import SignInService
from bff.issuer.context import IssuerContext
from bff.issuer.endpoints.authorize import AuthorizationEndpoint
from bff.issuer.endpoints.browser import Browser
from bff.issuer.endpoints.end_session import EndSessionEndpoint
from bff.issuer.endpoints.http import BadRequestError, error_answer, json_answer
from bff.issuer.endpoints.pages import Pages
from bff.issuer.endpoints.token import Endpoints
from bff.issuer.grants.client_keys import ClientKeys
from bff.issuer.grants.refusal_log import log_refusal
from bff.issuer.grants.registry import create_server
from bff.issuer.grants.tokens import Minter
from bff.issuer.keys.key_record import KeysUnusableError
from bff.issuer.keys.key_store import KeyStore, key_store, new_key
from bff.issuer.keys.keys import Keys, OneKey, SigningKey
from bff.issuer.keys.server_keys_file import ServerKeysFile
from bff.issuer.logout.backchannel import BackChannel
from bff.issuer.logout.termination import Termination
from bff.issuer.settings import IssuerSettings
from bff.issuer.store.redis import IssuerRedis, connect
from bff.issuer.store.store import Store
from bff.observe.logs import get_logger
from bff.tasks import Tasks

_PAGES = ("/authorize", "/sign-in", "/end-session", "/sign-out")


def create_app(settings: IssuerSettings, key: SigningKey | None = None) -> Starlette:
    """Builds the issuer. Accounts that are missing are made when it starts; Redis must answer then.

    Args:
        settings: its settings.
        key: the one key that signs tokens; None: those in Redis, or where no server key is set a new one.

    Returns:
        The application; its `state.server_keys_file` follows the server keys' file; None where there is none.
    """
    client = connect(settings.redis_url.get_secret_value())
    store = Store.on(IssuerRedis(client, settings.prefix))
    termination = Termination(store, settings.clients)
    accounts = Accounts(client, settings.prefix, settings.password_cost)
    keys = _keys(settings, store.redis, key)
    followed = _followed(settings, keys)
    tasks = Tasks()
    minter = Minter(settings.url, settings.audience, keys, settings.access_token_lifetime)
    client_keys = ClientKeys()
    server = create_server(
        settings, store, accounts, minter, termination=termination, client_keys=client_keys
    )
    pages = Pages(settings.url)
    limiter = SignInLimiter(client, settings.prefix, settings.sign_in_limits)
    sign_in_service = SignInService(settings, accounts, limiter, store.sign_in_sessions, termination)
    context = IssuerContext(
        settings,
        store,
        accounts,
        keys,
        minter,
        termination,
        server,
        Browser(settings),
        pages,
        sign_in_service,
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await run_in_threadpool(accounts.add_missing, settings.users)
        if isinstance(keys, KeyStore):
            await run_in_threadpool(keys.begin, partial(new_key, settings), time.time())
            if not keys.has_sealed_times:
                get_logger("bff.issuer").warning("signing_key_times_not_sealed", fix="bff issuer keys rotate")
        channel = BackChannel(store.logout_queue, minter, server.query_client)
        channel.start()
        termination.on_end = channel.kick
        if followed is not None:
            tasks.spawn(followed.watch(), name="server keys file")
        yield
        await tasks.cancel_all()
        await channel.stop()
        await run_in_threadpool(client.close)

    routes = _routes(context)
    if settings.path:
        # RFC 8414 3.1: the well-known part stands before the issuer's path.
        known = f"/.well-known/oauth-authorization-server{settings.path}"
        routes = [Mount(settings.path, routes=routes), Route(known, Endpoints(context).discovery)]
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={
            BadRequestError: _tell_bad_request(context),
            redis.RedisError: _tell_store_down(context),
            KeysUnusableError: _tell_store_down(context),
        },
    )
    app.state.server_keys_file = followed
    return app


def _keys(settings: IssuerSettings, issuer_redis: IssuerRedis, key: SigningKey | None) -> Keys:
    if key is None and settings.sealing_keys:
        return key_store(settings, issuer_redis)
    if key is None:
        get_logger("bff.issuer").info("signing_key_not_kept", fix="set server_keys: bff keys generate")
    return OneKey(key or new_key(settings))


def _followed(settings: IssuerSettings, keys: Keys) -> ServerKeysFile | None:
    if not isinstance(keys, KeyStore) or settings.server_keys_file is None:
        return None
    followed = ServerKeysFile(settings.server_keys_file, settings.sealing_keys, keys)
    keys.ask_for_newer = followed.ask
    return followed


def _routes(context: IssuerContext) -> list[BaseRoute]:
    authorization, leaving = AuthorizationEndpoint(context), EndSessionEndpoint(context)
    endpoints = Endpoints(context)
    return [
        Route("/.well-known/openid-configuration", endpoints.discovery),
        Route("/.well-known/oauth-authorization-server", endpoints.discovery),
        Route("/jwks", endpoints.jwks),
        Route("/authorize", authorization.authorize, methods=["GET", "POST"]),
        Route("/sign-in", authorization.sign_in, methods=["POST"]),
        Route("/token", endpoints.token, methods=["POST"]),
        Route("/par", endpoints.par, methods=["POST"]),
        Route("/revoke", endpoints.revoke, methods=["POST"]),
        Route("/introspect", endpoints.introspect, methods=["POST"]),
        Route("/userinfo", endpoints.userinfo, methods=["GET", "POST"]),
        Route("/end-session", leaving.end_session, methods=["GET", "POST"]),
        Route("/sign-out", leaving.sign_out, methods=["POST"]),
        Route("/healthz", endpoints.health),
    ]


def _tell_bad_request(context: IssuerContext) -> Callable[[Request, Exception], Response]:
    def handle(request: Request, error: Exception) -> Response:
        assert isinstance(error, BadRequestError)
        log_refusal(error.error, str(error), request.query_params.get("client_id"))
        if request.url.path.removeprefix(context.settings.path) in _PAGES:
            return context.pages.message("This does not work", str(error), error.status)
        return error_answer(error)

    return handle


def _tell_store_down(context: IssuerContext) -> Callable[[Request, Exception], Response]:
    def handle(request: Request, _: Exception) -> Response:
        if request.url.path.removeprefix(context.settings.path) in _PAGES:
            text = "Signing in and out does not work at the moment. Please try again in a minute."
            response = context.pages.message("Not available", text, 503)
        else:
            response = json_answer({"error": "temporarily_unavailable"}, 503)
        response.headers["Retry-After"] = "2"
        return response

    return handle
