"""An access line: its texts, and what is kept of what a client chose."""

import json
import re
import tracemalloc

import pytest

from bff.observe.access_log import AccessLines
from bff.observe.tracing import SpanIds


def test_long_paths_are_not_kept() -> None:
    """A client that asks for hundreds of different long paths leaves no memory of them behind."""
    written: list[int] = []
    lines = AccessLines(lambda text: written.append(len(text)))
    tracemalloc.start()
    for number in range(200):
        path = f"/{number}." + "x" * 30_000
        lines.note(b"GET", path.encode(), 404, 0.0, "spa", None, "r", False)
        lines.flush()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 200 * 30_000 < sum(written)
    assert 1_000_000 > kept


@pytest.mark.requirement("B-24")
@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/api/orders/7_a-b~", "/api/orders/7_a-b~"),
        ('/a"b', '/a"b'),
        ("/a\\b", "/a\\b"),
        ("/a\nb", "/a\\nb"),
        ("/" + "A" * 43 + "." + "B" * 43, "/[redacted]"),
        ("/eyJhbGciOiJFUzI1NiJ9abcdefgh.e30.sig", "/[redacted]"),
        ("/x=access_token=secret", "/x=access_token=[redacted]"),
    ],
)
def test_a_path_is_quoted_and_redacted(path: str, shown: str) -> None:
    """A path without special characters is written as it is; every other one is escaped and redacted."""
    written: list[str] = []
    lines = AccessLines(written.append)
    lines.note(b"GET", path.encode(), 200, 0.0, "/api", "0cd6f637684b", "r", False)
    lines.flush()
    assert shown == json.loads(written[0])["path"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0.00"),
        (0.000_004, "0.00"),
        (0.000_006, "0.01"),
        (0.001_234, "1.23"),
        (0.009_996, "10.00"),
        (0.01, "10.00"),
        (1.234_567, "1234.57"),
        (-0.001, "-1.00"),
    ],
)
def test_a_duration_is_written_in_hundredths(seconds: float, shown: str) -> None:
    """Milliseconds with two digits behind the point, short ones as well as long ones."""
    written: list[str] = []
    lines = AccessLines(written.append)
    lines.note(b"GET", b"/", 200, seconds, "/api", None, "r", False)
    lines.flush()
    assert f'"duration_ms": {shown},' in written[0]


@pytest.mark.parametrize("retried", [False, True])
@pytest.mark.parametrize("status", [200, 299, 999])
def test_each_field_is_written(status: int, retried: bool) -> None:
    """Whatever the status, and also of a call that was repeated."""
    written: list[str] = []
    lines = AccessLines(written.append)
    lines.note(
        b"PURGE", b"/a", status, 0.0, '/a"b', None, "r", retried, ', "frontend": "shop"', SpanIds("t", "s")
    )
    lines.flush()
    line = json.loads(written[0])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line.pop("timestamp"))
    assert {
        "event": "request",
        "method": "PURGE",
        "path": "/a",
        "status": status,
        "duration_ms": 0.0,
        "route": '/a"b',
        "session": None,
        "request_id": "r",
        "retried": retried,
        "logger": "bff.access",
        "level": "info",
        "frontend": "shop",
        "trace_id": "t",
        "span_id": "s",
    } == line
