"""The bench's traffic: its mix, and the passes over all of it before a counted run."""

from collections import Counter
from pathlib import Path
from typing import Any

import lupa  # type: ignore[import-untyped] # it brings no types

from tests.tools.bench.traffic import passes, requests, through_nginx, traffic_script

_BROWSER = {"Host": "localhost", "Origin": "http://localhost"}


def _users(count: int) -> list[dict[str, str]]:
    return [{**_BROWSER, "Cookie": f"bff={number}"} for number in range(count)]


def _cookie(request: bytes) -> bytes:
    return next(line for line in request.split(b"\r\n") if line.startswith(b"Cookie: "))


def test_each_user_has_a_turn_and_no_two_lines_are_alike() -> None:
    """Of 1,000 requests of as many users each is another user's, with a line of its own."""
    made = requests(_users(1000), 1000, forwarded=False)
    assert 1000 == len({_cookie(request) for request in made})
    assert 1000 == len({request.partition(b"\r\n")[0] for request in made})
    paths = Counter(request.split(b"/", 3)[2] for request in made)
    assert {b"post": 100, b"large": 50, b"same": 20, b"json": 830} == paths


def test_one_user_sends_as_many_lines() -> None:
    """A contender with one session gets the same lines as one with many."""
    lines = [
        [request.partition(b"\r\n")[0] for request in requests(_users(number), 200, forwarded=True)]
        for number in (1, 200)
    ]
    assert lines[0] == lines[1]


def test_what_an_nginx_adds() -> None:
    """Its own fields stand behind Host, its client's address behind the one that it was told."""
    request = requests(_users(1), 10, forwarded=True)[0]
    passed = through_nginx(request, 7).split(b"\r\n")
    assert [
        b"Host: localhost",
        b"X-Forwarded-For: 203.0.0.0, 127.0.0.1",
        b"X-Real-IP: 127.0.0.1",
        b"X-Request-ID: " + b"0" * 31 + b"7",
    ] == passed[1:5]
    assert len(request.split(b"\r\n")) + 2 == len(passed)


class _Thread:
    stopped = False

    def stop(self, _: object) -> None:
        self.stopped = True


def _loaded(script: str, thread: _Thread) -> Any:
    lua = lupa.LuaRuntime(encoding=None)
    lua.globals()[b"wrk"] = lua.table_from({b"thread": lua.table_from({b"stop": thread.stop})})
    lua.execute(script.encode())
    known = lua.globals()
    known[b"init"](None)
    return known


def test_a_pass_ends_once_each_request_was_answered(tmp_path: Path) -> None:
    """The requests are sent in turn; the uncounted run stops with the last answer of its last pass."""
    users = _users(7)
    thread = _Thread()
    lua = _loaded(passes(traffic_script(tmp_path, "x", users, "mixed", 7), 2, tmp_path / "over"), thread)
    sent = [lua[b"request"]() for _ in range(16)]  # some connections are ahead of the answers
    made = requests(users, 7, forwarded=False)
    assert [*made, *made, *made[:2]] == sent
    for _ in range(13):
        lua[b"response"]()
        assert not thread.stopped
    lua[b"response"]()
    assert thread.stopped
