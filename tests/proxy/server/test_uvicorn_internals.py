"""What the guarded protocol relies on inside uvicorn and httptools, which promise none of it."""

import asyncio
import inspect

import httptools
import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState


def test_websockets() -> None:
    """The WebSocket protocol has what ours overrides, calls, reads and writes."""
    for method, parameters in (
        ("handle_connect", ["self", "event"]),
        ("handle_parser_exception", ["self"]),
        ("keepalive_timeout", ["self"]),
        ("stop_keepalive", ["self"]),
        ("shutdown", ["self"]),
        ("send", ["self", "message"]),
        ("pause_writing", ["self"]),
        ("resume_writing", ["self"]),
    ):
        found = inspect.signature(getattr(WebSocketsSansIOProtocol, method)).parameters
        assert parameters == list(found), method
    source = inspect.getsource(WebSocketsSansIOProtocol)
    for name in (
        "conn", "queue", "writable", "handshake_initiated", "handshake_complete", "close_sent", "close_timer",
        "initial_response", "read_paused", "transport",
    ):  # fmt: skip
        assert f"self.{name} = " in source or f"self.{name}: " in source, name
    # What a mistake of the client's leads to is one method's doing, and a close of ours is `close_timer`'s.
    assert "self.conn.parser_exc is not None" in inspect.getsource(WebSocketsSansIOProtocol.data_received)
    assert "self.close_timer is None" in inspect.getsource(WebSocketsSansIOProtocol.run_asgi)


async def nothing(scope: object, receive: object, send: object) -> None:
    """An application that is never called."""


async def test_attributes_of_the_protocol() -> None:
    """The protocol has the attributes that ours reads and writes."""
    config = uvicorn.Config(nothing, log_config=None, ws="none")
    protocol = HttpToolsProtocol(config, ServerState(), {}, asyncio.get_running_loop())
    for name in (
        "cycle", "flow", "transport", "parser", "headers", "scope", "client", "loop", "server_state",
        "connections", "limit_concurrency", "app", "logger", "access_logger", "access_log",
        "expect_100_continue", "timeout_keep_alive", "timeout_keep_alive_task",
        "ws_protocol_class", "pipeline", "tasks", "config", "app_state", "_should_upgrade",
    ):  # fmt: skip
        assert hasattr(protocol, name), name
    assert protocol.cycle is None


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("_start_asgi_task", ["self", "cycle", "app"]),
        ("_unset_keepalive_if_required", ["self"]),
        ("on_response_complete", ["self"]),
        ("on_headers_complete", ["self"]),
        ("on_message_complete", ["self"]),
        ("on_header", ["self", "name", "value"]),
        ("send_400_response", ["self", "msg"]),
        ("handle_websocket_upgrade", ["self"]),
        ("timeout_keep_alive_handler", ["self"]),
        ("shutdown", ["self"]),
        ("pause_writing", ["self"]),
        ("resume_writing", ["self"]),
    ],
)
def test_methods_of_the_protocol(method: str, parameters: list[str]) -> None:
    """The methods that ours overrides or calls take what ours gives."""
    assert parameters == list(inspect.signature(getattr(HttpToolsProtocol, method)).parameters)


def test_attributes_of_a_cycle() -> None:
    """A cycle uses three methods of its transport, and has the state that ours looks at."""
    source = inspect.getsource(RequestResponseCycle)
    used = {part.split("(")[0] for part in source.split("self.transport.")[1:]}
    assert {"write", "close", "is_closing"} == used
    for name in (
        "response_started", "response_complete", "disconnected", "message_event", "keep_alive",
        "chunked_encoding", "expected_content_length", "waiting_for_100_continue",
    ):  # fmt: skip
        assert f"self.{name} = " in source or f"self.{name}: " in source, name


def test_what_makes_a_cycle() -> None:
    """A cycle of our own is made of what uvicorn makes its own of."""
    assert [
        "scope", "transport", "flow", "logger", "access_logger", "access_log", "default_headers",
        "message_event", "expect_100_continue", "keep_alive", "on_response",
    ] == list(inspect.signature(RequestResponseCycle).parameters)  # fmt: skip


def test_a_refused_head_starts_no_cycle() -> None:
    """Only `on_headers_complete` makes cycles, and only `_start_asgi_task` starts them."""
    whole = inspect.getsource(HttpToolsProtocol)
    assert 1 == whole.count("RequestResponseCycle(")
    assert "RequestResponseCycle(" in inspect.getsource(HttpToolsProtocol.on_headers_complete)
    assert inspect.getsource(HttpToolsProtocol._start_asgi_task).count(".run_asgi(") == whole.count(
        ".run_asgi("
    )


def test_flow_control() -> None:
    """The flow control says whether reading is paused."""
    assert {"pause_reading", "resume_reading"} <= set(dir(FlowControl))
    assert "self.read_paused" in inspect.getsource(FlowControl)


def test_status_lines() -> None:
    """Status lines are ready-made."""
    assert b"HTTP/1.1 431 Request Header Fields Too Large\r\n" == STATUS_LINE[431]


@pytest.mark.requirement("H-02")
@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nX : a\r\n\r\n",
        b"GET / HTTP/1.1\r\n: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nX a: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nX\r\n\r\n",
        b"GET / HTTP/1.1\r\n X: a\r\n\r\n",
        b"get / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;a\x00\r\n",
    ],
)
def test_what_is_left_to_the_parser(raw: bytes) -> None:
    """The parser refuses what the front door leaves to it."""
    with pytest.raises(httptools.HttpParserError):
        httptools.HttpRequestParser(object()).feed_data(raw)
