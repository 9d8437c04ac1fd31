"""The issuer's endpoints that are no pages: metadata, keys, tokens, userinfo."""

import time

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from bff.issuer.context import IssuerContext
from bff.issuer.endpoints.http import check_client_authentication, json_answer, public_json, read_form
from bff.issuer.endpoints.metadata import discovery_document
from bff.issuer.endpoints.userinfo import Userinfo
from bff.issuer.grants.engine import Answer, ProtocolRequest
from bff.issuer.keys.keys import public_set

JWKS_KEPT = 60.0
"""Seconds for which the keys may be cached; less if the lead of a new key is short."""


class Endpoints:
    """The endpoints for clients, services and verifiers."""

    def __init__(self, context: IssuerContext) -> None:
        self._context = context
        self._userinfo = Userinfo(context)

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
        protocol_request = await self._protocol_request(request, "/token")
        answer = await run_in_threadpool(self._context.server.create_token_response, protocol_request)
        return _json(answer, protocol_request)

    async def par(self, request: Request) -> Response:
        """RFC 9126."""
        return await self._endpoint("par", "/par", request)

    async def revoke(self, request: Request) -> Response:
        """RFC 7009."""
        return await self._endpoint("revocation", "/revoke", request)

    async def introspect(self, request: Request) -> Response:
        """RFC 7662."""
        return await self._endpoint("introspection", "/introspect", request)

    async def userinfo(self, request: Request) -> Response:
        """OpenID Connect Core 5.3: the token comes in the header, only."""
        return await run_in_threadpool(self._userinfo.answer, request)

    async def health(self, _: Request) -> Response:
        """200 when Redis answers."""
        await run_in_threadpool(self._context.store.redis.ping)
        return json_answer({"status": "ok"})

    async def _endpoint(self, name: str, path: str, request: Request) -> Response:
        protocol_request = await self._protocol_request(request, path)
        server = self._context.server
        answer = await run_in_threadpool(server.create_endpoint_response, name, protocol_request)
        return _json(answer, protocol_request)

    async def _protocol_request(self, request: Request, path: str) -> ProtocolRequest:
        form = await read_form(request)
        check_client_authentication(request, form)
        headers = {"Authorization": request.headers.get("authorization", "")}
        url, proofs = f"{self._context.settings.url}{path}", request.headers.getlist("dpop")
        return ProtocolRequest(request.method, url, form, headers, proofs)


def _json(answer: Answer, request: ProtocolRequest) -> Response:
    headers = dict(answer.headers)
    if request.next_nonce is not None:
        headers["DPoP-Nonce"] = request.next_nonce
    return json_answer(answer.body, answer.status, headers)
