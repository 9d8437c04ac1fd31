"""What reaches standard error, and in which form."""

import asyncio
import io
import json
import logging
import re
import sys
import typing
import warnings
from typing import Any

import pytest
import structlog

from bff.observe import logs
from bff.observe.audit_events import EVENTS, AuditEvent
from bff.observe.redact import MASK
from bff.settings.model import LogSettings
from tests.observe.test_redact import HANDLE, JWT
from tests.support.wait import until


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Err:
    """What was written to standard error so far."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    @property
    def text(self) -> str:
        self._text += self._capsys.readouterr().err
        return self._text

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def err(capsys: pytest.CaptureFixture[str]) -> Err:
    return Err(capsys)


def test_a_line_is_json_where_nobody_watches(err: Err) -> None:
    """Written to a file or a pipe, each event is one JSON object on one line."""
    logs.configure(LogSettings())
    logs.get_logger("bff.x").info("started\nforged", port=8080, text="two\nlines")
    (record,) = err.records
    assert record["timestamp"].endswith("Z")
    del record["timestamp"]
    assert {
        "event": "started\\nforged",
        "logger": "bff.x",
        "level": "info",
        "port": 8080,
        "text": "two\nlines",
    } == record


def test_a_terminal_gets_lines_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal a line is readable and coloured, unless NO_COLOR asks for none."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure(LogSettings())
    logs.get_logger("bff.x").info("started", port=8080)
    assert "started" in stream.getvalue()
    assert "\x1b[" in stream.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    monkeypatch.setattr(sys, "stderr", plain)
    logs.configure(LogSettings())
    logs.get_logger("bff.x").info("started", port=8080)
    assert "\x1b[" not in plain.getvalue()
    assert "port=8080" in plain.getvalue()


def test_a_line_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time, level, event, then the fields that matter; nothing that says nothing."""
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure(LogSettings())
    logs.get_logger("bff.serve").info(
        "refused", sub="bob", host="evil.example", code="wrong_host", detail="this is x", sid=None
    )
    logs.access(method=b"GET", path=b"/api", status=200, duration=0.0123, route="/api", request_id="abcdefgh")
    logs.audit("signed_in", sub="alice", session="0123456789abcdef")
    logging.getLogger("some.library").warning("odd")
    times, lines = zip(*(line.split(" ", 1) for line in stream.getvalue().splitlines()), strict=True)
    assert [
        "[info     ] refused                code=wrong_host detail='this is x' host=evil.example sub=bob",
        "[info     ] request                method=GET path=/api status=200 duration_ms=12.3 route=/api",
        "[info     ] signed_in              sub=alice session=0123456789ab",
        "[warning  ] odd                    logger=some.library",
    ] == list(lines)
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}", time) for time in times)


@pytest.mark.parametrize("format_", ["json", "console"])
def test_a_refusal_has_its_code(err: Err, format_: typing.Literal["json", "console"]) -> None:
    """The code of a problem is shown, and an authorization code is not."""
    logs.configure(LogSettings(format=format_))
    logs.get_logger("bff.x").info("refused", code="wrong_host", host="evil.example")
    logs.get_logger("bff.x").info("odd", code="SplxlOBeZQQYbYS6WxSbIA")
    assert "wrong_host" in err.text
    assert "evil.example" in err.text
    assert "SplxlOBeZQQYbYS6WxSbIA" not in err.text


def test_the_format_can_be_chosen(monkeypatch: pytest.MonkeyPatch, err: Err) -> None:
    """`json` and `console` hold whatever standard error is."""
    logs.configure(LogSettings(format="console"))
    logs.get_logger("bff.x").info("started", port=8080)
    assert "port=8080" in err.text
    assert "\x1b[" not in err.text
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure(LogSettings(format="json"))
    logs.get_logger("bff.x").info("started", port=8080)
    assert 8080 == json.loads(stream.getvalue())["port"]


@pytest.mark.requirement("B-24")
def test_a_terminal_obeys_no_log_line(err: Err) -> None:
    """What strangers chose (a path, a record's field) moves no cursor and begins no line of its own."""
    logs.configure(LogSettings(format="console"))
    logs.audit("record_tampered", sub="\x1b[2J\x9b31mred", reason="a\r[info] forged")
    logs.access(
        method=b"GET", path=b"/bff/\x1b]0;title\x07", status=404, duration=0, route="x", request_id="r"
    )
    try:
        shout()
    except ValueError:
        logs.get_logger("bff.x").exception("failed")
    assert "Traceback" in err.text
    assert set() == set(err.text) & {"\x1b", "\x9b", "\x07", "\r"}


def shout() -> None:
    raise ValueError("\x1b[31m")


def fail() -> None:
    try:
        int(HANDLE)
    except ValueError as error:
        raise RuntimeError(f"answer {{'refresh_token': 'opaque3', 'id_token': '{JWT}'}}") from error


@pytest.mark.requirement("B-08", "B-24")
@pytest.mark.parametrize("format_", ["json", "console"])
def test_no_secret_passes(err: Err, format_: typing.Literal["json", "console"]) -> None:
    """Tokens and handles are masked in events, fields, nested values, exceptions and their causes."""
    logs.configure(LogSettings(format=format_, level="debug"))
    log = logs.get_logger("bff.x")
    log.info(JWT, cookie="bff=opaque1", nested={"headers": [("authorization", "opaque2")]})
    try:
        fail()
    except RuntimeError:
        log.exception("failed")
        logging.getLogger("some.library").exception("got %s", {"access_token": "opaque4"})
    text = err.text
    assert [] == [s for s in (JWT, HANDLE, "opaque1", "opaque2", "opaque3", "opaque4") if s in text]
    assert 2 == text.count("The above exception was the direct cause")
    assert 2 < text.count(MASK)


def test_libraries_log_in_the_same_form(err: Err) -> None:
    """What is logged by `logging` comes out as one JSON object with its logger's name."""
    logs.configure(LogSettings())
    logging.getLogger("uvicorn.error").warning("Invalid %s\nreceived", "request")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", stacklevel=1)
    first, second = err.records
    assert ("uvicorn.error", "warning", "Invalid request\\nreceived") == (
        first["logger"],
        first["level"],
        first["event"],
    )
    assert "py.warnings" == second["logger"]


@pytest.mark.requirement("B-24")
def test_chatty_libraries_are_held_down(err: Err) -> None:
    """At DEBUG, too, and when a library lowers its own level, nothing with tokens or URLs in it gets out."""
    logs.configure(LogSettings(level="debug"))
    for name in (
        "authlib.oauth2.rfc6749",
        "httpcore.http11",
        "websockets.client",
        "python_multipart.multipart",
    ):
        logging.getLogger(name).debug("secret")
        logging.getLogger(name).setLevel(logging.DEBUG)
        logging.getLogger(name).debug("secret")
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.getLogger("httpx").info("HTTP Request: GET https://id/cb?code=opaque")
    logging.getLogger("uvicorn.access").info("GET /bff/callback?code=opaque")
    assert "" == err.text
    logging.getLogger("authlib").info("shown")
    logging.getLogger("authlibrary").debug("shown")
    assert ["shown", "shown"] == [record["event"] for record in err.records]


def test_a_broken_message_of_a_library_is_told(err: Err) -> None:
    """A library that formats its message wrongly neither raises nor vanishes."""
    logs.configure(LogSettings())
    logging.getLogger("some.library").warning("%d", "no number")
    assert "a log record of some.library could not be formatted\n" == err.text


def test_a_level_silences_what_is_below(err: Err) -> None:
    """With level warning, info lines and access lines are not written."""
    logs.configure(LogSettings(level="warning"))
    logs.get_logger("bff.x").info("started")
    logging.getLogger("some.library").info("started")
    logs.get_logger("bff.x").warning("beware")
    assert ["beware"] == [record["event"] for record in err.records]


@pytest.mark.requirement("B-27")
def test_audit_events_are_always_written(err: Err) -> None:
    """Who, when, where from and why, whatever the log level is; a session is named by 12 characters."""
    logs.configure(LogSettings(level="error"))
    logs.audit(
        "session_ended",
        sub="alice",
        session="0123456789abcdef" * 4,
        address="192.0.2.7",
        reason="logout",
        provider_revoked=False,
    )
    (record,) = err.records
    assert record.pop("timestamp")
    assert {
        "event": "session_ended",
        "audit": True,
        "level": "info",
        "logger": "bff.audit",
        "sub": "alice",
        "session": "0123456789ab",
        "address": "192.0.2.7",
        "reason": "logout",
        "provider_revoked": False,
    } == record


def test_the_set_of_audit_events_is_closed() -> None:
    """Alerts are written against these names: adding one is a decision, renaming one breaks somebody."""
    assert (
        {
            "signed_in",
            "signed_out",
            "sign_in_failed",
            "session_ended",
            "session_bound",
            "binding_refused",
            "binding_lost",
            "settings_changed",
            "settings_change_refused",
            "ending_not_replicated",
            "tokens_refreshed",
            "refresh_failed",
            "refresh_token_sent_again",
            "rotation_lost",
            "record_tampered",
            "csrf_rejected",
            "tokens_revoked",
            "revocation_failed",
            "rate_limited",
            "handle_rejected",
            "forward_auth_refused",
            "provider_signed_out",
            "logout_token_rejected",
            "security_signal_taken",
            "security_signal_rejected",
            "sign_in_ended",
            "token_reused",
            "keys_rotated",
            "keys_moved",
            "account_added",
            "account_suspended",
            "account_resumed",
            "password_changed",
        }
        == set(typing.get_args(AuditEvent))
        == set(EVENTS)
    )


@pytest.mark.requirement("B-24")
def test_an_access_line_tells_the_request_without_its_query(err: Err) -> None:
    """Method, path, status, time, route, session and request id; never a query, never a whole key."""
    logs.configure(LogSettings())
    logs.access(
        method=b"GET",
        path=b"/api/orders?q=secret",
        status=200,
        duration=0.01234,
        route="/api",
        session="0123456789abcdef" * 4,
        request_id="abcdefgh",
        retried=True,
    )
    (record,) = err.records
    assert record.pop("timestamp")
    assert {
        "event": "request",
        "level": "info",
        "logger": "bff.access",
        "method": "GET",
        "path": "/api/orders",
        "status": 200,
        "duration_ms": 12.34,
        "route": "/api",
        "session": "0123456789ab",
        "request_id": "abcdefgh",
        "retried": True,
    } == record


@pytest.mark.requirement("B-24")
async def test_access_lines_come_in_batches_in_their_order(err: Err) -> None:
    """Lines wait for a moment, are written before any other line, and what a client chose is masked."""
    logs.configure(LogSettings())
    line: dict[str, Any] = {"status": 200, "duration": 0, "route": "/", "request_id": "abcdefgh"}
    logs.access(method=b"GET", path=f"/{JWT}".encode(), **line)
    logs.access(method=b'G"T', path=b'/"\n', **line)
    assert "" == err.text
    logs.get_logger("bff.x").info("later")
    first, second, third = err.records
    assert (f"/{MASK}", 'G"T', '/"\\n', "later") == (
        first["path"],
        second["method"],
        second["path"],
        third["event"],
    )
    logs.access(method=b"GET", path=b"/", **line)
    await until(lambda: err.text.count('"event": "request"') == 3)
    for _ in range(501):
        logs.access(method=b"GET", path=b"/", **line)
    assert err.text.count('"event": "request"') >= 500


@pytest.mark.requirement("B-24")
async def test_a_thread_leaves_access_lines_to_the_loop(err: Err, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of another thread is written, and takes no access line along, which it could lose."""
    monkeypatch.setattr("bff.observe.access_log.FLUSH_AFTER", 600)
    logs.configure(LogSettings())
    logs.access(method=b"GET", path=b"/", status=200, duration=0, route="/", request_id="abcdefgh")
    await asyncio.to_thread(logging.getLogger("some.library").warning, "down")
    assert ["down"] == [record["event"] for record in err.records]
    logs.get_logger("bff.x").info("later")
    assert ["down", "request", "later"] == [record["event"] for record in err.records]


def test_access_lines_can_be_turned_off(err: Err) -> None:
    """`log.access = false` silences them and nothing else."""
    logs.configure(LogSettings(access=False))
    logs.access(method=b"GET", path=b"/", status=200, duration=0, route="/", request_id="abcdefgh")
    logs.get_logger("bff.x").info("started")
    assert ["started"] == [record["event"] for record in err.records]


def test_what_is_bound_to_the_request_is_in_its_lines(err: Err) -> None:
    """A request id bound once stands in our lines, in audit events and in the libraries' lines."""
    logs.configure(LogSettings())
    with structlog.contextvars.bound_contextvars(request_id="abcdefgh"):
        logs.get_logger("bff.x").info("a")
        logs.audit("signed_in", sub="alice")
        logging.getLogger("some.library").warning("b")
    assert ["abcdefgh"] * 3 == [record["request_id"] for record in err.records]


def test_a_stream_that_is_gone_ends_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logging to a closed stream is silent."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure(LogSettings())
    stream.close()
    logs.get_logger("bff.x").info("started")
    logs.audit("signed_in", sub="alice")
