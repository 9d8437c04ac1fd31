"""The issuer's endpoints that are no pages: metadata, keys, tokens, userinfo."""

import time

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from bff.issuer.context import IssuerContext
from bff.issuer.endpoints.http import check_client_authentication, json_answer, public_json, read_form
from bff.issuer.endpoints.metadata import discovery_document
from bff.issuer.grants.engine import Answer, ProtocolRequest
from bff.issuer.grants.tokens import personal_claims
from bff.issuer.keys.keys import public_set

JWKS_KEPT = 60.0
"""Seconds for which the keys may be cached; less if the lead of a new key is short."""


class Endpoints:
    """The endpoints for clients, services and verifiers."""

    def __init__(self, context: IssuerContext) -> None:
        self._context = context

    async def discovery(self, _: Request) -> Response:
        """OpenID Connect Discovery 1.0, and RFC 8414: one document."""
        keys = await run_in_threadpool(self._context.keys.published, time.time())
        document = discovery_document(self._context.settings.url, [key.algorithm for key in keys])
        return public_json(document, seconds=300)

    async def jwks(self, _: Request) -> Response:
        """The public keys."""
        keys = await run_in_threadpool(self._context.keys.published, time.time())
        kept = int(min(JWKS_KEPT, self._context.settings.key_lead / 4))
        return public_json({**public_set(keys)}, seconds=kept)

    async def token(self, request: Request) -> Response:
        """RFC 6749 3.2."""
        protocol_request = await self._protocol_request(request)
        return _json(await run_in_threadpool(self._context.server.create_token_response, protocol_request))

    async def par(self, request: Request) -> Response:
        """RFC 9126."""
        return await self._endpoint("par", request)

    async def revoke(self, request: Request) -> Response:
        """RFC 7009."""
        return await self._endpoint("revocation", request)

    async def introspect(self, request: Request) -> Response:
        """RFC 7662."""
        return await self._endpoint("introspection", request)

    async def userinfo(self, request: Request) -> Response:
        """OpenID Connect Core 5.3: the token comes in the header, only."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        claims = None
        if scheme.lower() == "bearer":
            claims = await run_in_threadpool(
                self._context.server.active.find, token.strip(), int(time.time())
            )
        if claims is None:
            return _refuse_bearer(401, "invalid_token" if token else None)
        if "openid" not in claims["scope"].split():
            return _refuse_bearer(403, "insufficient_scope")
        account = await run_in_threadpool(self._context.accounts.find, claims["sub"])
        if account is None:
            return _refuse_bearer(401, "invalid_token")
        return json_answer(personal_claims(account, claims["scope"]))

    async def health(self, _: Request) -> Response:
        """200 when Redis answers."""
        await run_in_threadpool(self._context.store.redis.ping)
        return json_answer({"status": "ok"})

    async def _endpoint(self, name: str, request: Request) -> Response:
        protocol_request = await self._protocol_request(request)
        server = self._context.server
        return _json(await run_in_threadpool(server.create_endpoint_response, name, protocol_request))

    async def _protocol_request(self, request: Request) -> ProtocolRequest:
        form = await read_form(request)
        check_client_authentication(request, form)
        headers = {"Authorization": request.headers.get("authorization", "")}
        return ProtocolRequest(request.method, f"{self._context.settings.url}/token", form, headers)


def _json(answer: Answer) -> Response:
    return json_answer(answer.body, answer.status, dict(answer.headers))


def _refuse_bearer(status: int, error: str | None) -> Response:
    """RFC 6750 3: no error code where no token came."""
    challenge = f'Bearer error="{error}"' if error else "Bearer"
    return json_answer({"error": error or "unauthorized"}, status, {"WWW-Authenticate": challenge})
