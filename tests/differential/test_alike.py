"""What nginx and ours make of the same answers and the same requests (H-02, H-05).

Where both forward they must agree to the byte; what nginx turns away we do too. What only one of them
forwards stands in `tests/data/differential/differences.json`, with the reason.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.differential.fronts import Front, Seen, both, say_all, understood
from tests.support.corpus import DATA, answers, raw, requests
from tests.support.error_log import no_error_logged
from tests.support.processes.redis import RedisServer
from tests.support.wait import PATIENCE

DIFFERENCES = json.loads((DATA / "differential" / "differences.json").read_text(encoding="utf-8"))
REQUESTS = requests()
ANSWERS = answers()
_PATH = re.compile(rb"(?m)^([A-Z]+[ \t]+[^ /\r\n]*)(?<![/:])/(?![/A-Z])")

pytestmark = pytest.mark.usefixtures("both_fronts")


def only(kind: str, forwarder: str) -> set[Any]:
    """The cases that one of the two alone is known to forward."""
    groups = (group for group in DIFFERENCES[kind] if group["forwarded_by"] == forwarder)
    assert all(len(group["reason"]) > 20 for group in DIFFERENCES[kind])
    return {tuple(case) if isinstance(case, list) else case for group in groups for case in group["cases"]}


@pytest.mark.requirement("H-02", "H-05")
async def test_answers(redis_server: RedisServer, tmp_path: Path) -> None:
    """An answer reaches the client with the same status and content, or is not passed on."""
    seen = Seen(answers={b"%d" % number: raw(answer) for number, (_, answer) in enumerate(ANSWERS)})

    def asking(front: Front) -> list[bytes]:
        form = b"%s /api/%d HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"
        return [form % (method.encode(), number, front.host) for number, (method, _) in enumerate(ANSWERS)]

    differing: dict[str, list[Any]] = {"both": [], "nginx": [], "ours": []}
    async with both(redis_server, tmp_path, seen) as (nginx, ours):
        theirs = await say_all(nginx, asking(nginx), PATIENCE)
        our = await say_all(ours, asking(ours), PATIENCE)
    for case, one, other in zip(ANSWERS, theirs, our, strict=True):
        expected, got = understood(one, case[0].encode()), understood(other, case[0].encode())
        if "answer" == expected[0] == got[0]:
            if expected != got:
                differing["both"].append((case, expected, got))
        elif "answer" == expected[0]:
            differing["nginx"].append(case)
        elif "answer" == got[0]:
            differing["ours"].append(case)
    assert [] == differing["both"]
    for forwarder in ("nginx", "ours"):
        assert [] == [case for case in differing[forwarder] if case not in only("answers", forwarder)]


def prepared(request: str, front: Front, tag: bytes) -> bytes:
    """A request of the corpus for this front, with a tag in its path by which to find it at the backend."""
    data = request.encode("latin-1")
    if b"TAG" in data:
        return data.replace(b"HOST", front.host).replace(b"TAG", tag)
    return _PATH.sub(rb"\g<1>/api/" + tag + b"/", data.replace(b"app.example.com", front.host))


def forms(heads: list[list[tuple[bytes, bytes]]]) -> list[tuple[int, int]]:
    """How many Hosts, and how many statements about its length, each head has."""
    framing = {b"content-length", b"transfer-encoding"}
    names = [[name for name, _ in head] for head in heads]
    return [(head.count(b"host"), sum(name in framing for name in head)) for head in names]


@pytest.mark.requirement("H-01", "H-02")
@pytest.mark.server_only
async def test_requests(redis_server: RedisServer, tmp_path: Path) -> None:
    """The backend gets the same requests, each framed once and beyond doubt, or none; no ERROR is logged."""
    got: list[dict[str, list[tuple[bytes, bytes, bytes]]]] = []
    tags = {b"t%dt" % number: name for number, name in enumerate(REQUESTS)}
    with no_error_logged():
        async with both(redis_server, tmp_path, seen := Seen()) as fronts:
            for front in fronts:
                seen.requests, seen.heads, seen.doubtful = {}, [], []
                asked = [prepared(REQUESTS[name], front, tag) for tag, name in tags.items()]
                await say_all(front, asked)
                got.append({tags[tag]: found for tag, found in seen.requests.items() if tag in tags})
    theirs, our = got
    assert [] == seen.doubtful
    assert set() == set(forms(seen.heads)) - {(1, 0), (1, 1)}
    common = theirs.keys() & our.keys()
    assert {} == {name: (theirs[name], our[name]) for name in common if theirs[name] != our[name]}
    assert set() == theirs.keys() - our.keys() - only("requests", "nginx")
    assert set() == our.keys() - theirs.keys() - only("requests", "ours")
    assert len(common) > 25
