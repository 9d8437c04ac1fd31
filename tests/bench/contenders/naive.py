"""The BFF most people would write, as a contender: a session in Redis, a token put in, the answer passed on.

It is fair, not bad: one client and one pool for the life of the process, and streamed answers. What it leaves
out would cost it more: no signed or sealed session, no CSRF check, no refresh, no header rules, no log.
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

SESSION_PREFIX = "naive:session:"
_NOT_PASSED = {"host", "cookie", "connection", "content-length", "transfer-encoding"}
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    limits = httpx.Limits(max_connections=256, max_keepalive_connections=256)
    async with (
        httpx.AsyncClient(base_url=os.environ["NAIVE_UPSTREAM"], limits=limits, timeout=30) as client,
        Redis.from_url(os.environ["NAIVE_REDIS"], max_connections=512) as redis,
    ):
        app.state.client, app.state.redis = client, redis
        yield


async def forward(request: Request) -> Response:
    """Looks the session up, and forwards with its token."""
    cookie = request.cookies.get("session", "")
    record = await request.app.state.redis.get(SESSION_PREFIX + cookie)
    if record is None:
        return JSONResponse({"error": "sign in"}, 401)
    headers = [(name, value) for name, value in request.headers.items() if name not in _NOT_PASSED]
    headers.append(("authorization", f"Bearer {json.loads(record)['access_token']}"))
    client: httpx.AsyncClient = request.app.state.client
    body = await request.body()
    call = client.build_request(request.method, request.url.path, headers=headers, content=body or None)
    answer = await client.send(call, stream=True)
    passed = {name: value for name, value in answer.headers.items() if name not in ("connection", "date")}
    return StreamingResponse(
        answer.aiter_raw(), answer.status_code, passed, background=BackgroundTask(answer.aclose)
    )


app = Starlette(routes=[Route("/api/{rest:path}", forward, methods=_METHODS)], lifespan=_lifespan)
