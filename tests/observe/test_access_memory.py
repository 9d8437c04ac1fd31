"""What an access line keeps of what a client chose."""

import json
import tracemalloc

import pytest

from bff.observe.access_log import AccessLines


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
