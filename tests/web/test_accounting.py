"""What is counted and logged of the answers of our own endpoints and of the page."""

import json
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from bff.errors import Problem
from bff.observe.metrics import Metrics
from bff.policy.routes import RouteTable
from bff.web import accounting
from bff.web.accounting import Accounting
from bff.web.responses import problem_answer


class Counted:
    """An application behind its accounting."""

    def __init__(self, app: ASGIApp, *, log: bool = False) -> None:
        self.metrics = Metrics()
        is_own = RouteTable([]).is_own
        self._app = Accounting(app, metrics=self.metrics, endpoints=["/bff/user"], is_own=is_own, log=log)

    async def get(self, path: str) -> httpx.Response:
        transport = httpx.ASGITransport(app=self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get(path)

    async def bare(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    def counted(self, name: str, label: str) -> dict[str, float]:
        body, _ = self.metrics.render()
        return {
            sample.labels[label]: sample.value
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
            if sample.name == name and sample.value
        }


def answering(response: Response) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await response(scope, receive, send)

    return app


@pytest.mark.parametrize(
    ("route", "path"),
    [
        ("/bff/user", "/bff/user"),
        ("/bff/*", "/bff/nothing-of-ours"),
        ("spa", "/orders/7"),
    ],
)
async def test_each_answer_is_counted_once(route: str, path: str) -> None:
    """By our endpoint's name, and never by a path that a client made up."""
    counted = Counted(answering(PlainTextResponse("fine")))
    await counted.get(path)
    assert {route: 1.0} == counted.counted("bff_requests_total", "route")


async def test_a_problem_is_counted_by_its_code() -> None:
    """The client gets it unchanged."""
    counted = Counted(answering(problem_answer(Problem.CSRF_REJECTED)))
    answer = await counted.get("/bff/user")
    assert (403, "csrf_rejected") == (answer.status_code, answer.json()["code"])
    assert {"csrf_rejected": 1.0} == counted.counted("bff_problems_total", "code")


@pytest.mark.parametrize("body", [{"code": "csrf_rejected"}, ["no code"], "text"])
async def test_another_answer_is_no_problem(body: object) -> None:
    """JSON of ours that is none is passed on, and not looked into."""
    counted = Counted(answering(JSONResponse(body)))
    assert body == (await counted.get("/bff/user")).json()
    assert {} == counted.counted("bff_problems_total", "code")


async def test_what_breaks_off_before_its_answer_counts_as_500() -> None:
    """An exception goes on to whoever answers for it."""

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive, send
        raise RuntimeError("broken")

    counted = Counted(broken)
    with pytest.raises(RuntimeError, match="broken"):
        await counted.get("/bff/user")
    assert {"5xx": 1.0} == counted.counted("bff_requests_total", "status")


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
async def test_what_is_no_request_goes_through(kind: str) -> None:
    """It has neither a method nor an answer to be counted."""
    reached: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del receive, send
        reached.append(scope)

    async def receive() -> Any:
        raise AssertionError("nobody asks")

    async def send(message: Any) -> None:
        raise AssertionError(message)

    counted = Counted(app)
    scope: Scope = {"type": kind}
    await counted.bare(scope, receive, send)
    assert [scope] == reached
    assert {} == counted.counted("bff_requests_total", "route")


@pytest.mark.parametrize("log", [True, False])
async def test_the_access_log_has_a_line_for_each(monkeypatch: pytest.MonkeyPatch, log: bool) -> None:
    """With what was asked and answered, where the log is on."""
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(accounting, "access", lambda **fields: lines.append(fields))
    counted = Counted(answering(PlainTextResponse("fine")), log=log)
    await counted.get("/bff/user")
    expected = {"method": b"GET", "path": b"/bff/user", "status": 200, "route": "/bff/user"}
    assert ([expected] if log else []) == [
        {name: value for name, value in line.items() if name in expected} for line in lines
    ]
    json.dumps(lines, default=bytes.decode)  # everything in it can be written
