"""Traffic as real users make it: no two requests alike, of many kinds, from many users.

A request is a line of its own (path and query), a user's cookie, and a browser's fields. wrk is given all of
them beforehand, as they go on the wire, and sends them in turn.
"""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

Kind = Literal["repeat", "mixed", "forwarded", "as-forwarded"]
"""`mixed` requests all differ; `forwarded` ones bring an address each, through nginx; `as-forwarded` ones are
those that the nginx makes of these; `repeat` is one."""

USERS = 20_000
"""Users of `mixed` traffic, each with a request line of its own: the near cache holds them all."""

MORE_USERS = 100_000
"""Users of traffic that is larger than the near cache."""

SHARES = {"post": 0.10, "large": 0.05, "same": 0.02}
"""POSTs of 2 kB, answers of 100 kB, answers 304; the rest are GETs of 1.1 kB."""

_POSTED = b'{"order":"' + b"x" * 1988 + b'"}'
_SEED = 20
_SCRIPT = """
local requests = {{}}
local position = 0
init = function(arguments)
  local file = io.open("{file}", "rb")
  while true do
    local size = file:read(8)
    if size == nil then break end
    requests[#requests + 1] = file:read(tonumber(size))
  end
  file:close()
end
request = function()
  position = position % #requests + 1
  return requests[position]
end
"""
_PASSES = """
local answered = 0
response = function()
  answered = answered + 1
  if answered == {passes} * #requests then
    wrk.thread:stop()
    io.open("{over}", "w"):close()
  end
end
"""


def traffic_script(
    folder: Path, name: str, users: Sequence[Mapping[str, str]], kind: Kind, count: int = USERS
) -> str:
    """A wrk script that sends requests of these users' in turn.

    Args:
        folder: where the requests are written.
        name: of their file.
        users: the fields of a user's requests, session included.
        kind: of the traffic.
        count: of the requests that differ.
    """
    file = folder / f"traffic.{name}"
    if kind == "repeat":
        made = [_request("json", 0, users[0], forwarded=False)]
    else:
        made = requests(users, count, forwarded=kind != "mixed")
    if kind == "as-forwarded":
        made = [through_nginx(request, number) for number, request in enumerate(made)]
    with file.open("wb") as out:
        for request in made:
            out.write(b"%-8d" % len(request) + request)
    return _SCRIPT.format(file=file)


def passes(script: str, count: int, over: Path) -> str:
    """The script of an uncounted run: once each request was answered so many times, it stops, and says so."""
    return script + _PASSES.format(passes=count, over=over)


def browser_fields(host: str) -> dict[str, str]:
    """The fields of a browser's request to this host over http, without its session."""
    return {
        "Host": host,
        "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/156.0.0.0 Safari/537.36",
        "Accept": "application/json, text/plain, */*",
        "Accept-Encoding": "gzip, deflate, br, zstd",
        "Accept-Language": "en-GB,en;q=0.9,de;q=0.8",
        "Sec-CH-UA": '"Chromium";v="156", "Not(A:Brand";v="24"',
        "Sec-CH-UA-Mobile": "?0",
        "Sec-CH-UA-Platform": '"Linux"',
        "Sec-Fetch-Dest": "empty",
        "Sec-Fetch-Mode": "cors",
        "Sec-Fetch-Site": "same-origin",
        "Origin": f"http://{host}",
        "X-CSRF": "1",
    }


def requests(users: Sequence[Mapping[str, str]], count: int, *, forwarded: bool) -> list[bytes]:
    """The requests in the order in which they are sent, the same in each run."""
    chance = random.Random(_SEED)  # noqa: S311 - a mix that is the same each time, no secret
    kinds = [kind for kind, share in SHARES.items() for _ in range(round(share * count))]
    kinds += ["json"] * (count - len(kinds))
    chance.shuffle(kinds)
    order = [users[number % len(users)] for number in range(count)]
    chance.shuffle(order)
    return [
        _request(kind, n, user, forwarded=forwarded)
        for n, (kind, user) in enumerate(zip(kinds, order, strict=True))
    ]


def through_nginx(request: bytes, number: int) -> bytes:
    """A forwarded request as `behind-nginx` has it from its nginx, which writes its own fields first."""
    line, host, *fields = request.partition(b"\r\n\r\n")[0].split(b"\r\n")
    address = next(field for field in fields if field.startswith(b"X-Forwarded-For: "))
    fields.remove(address)
    own = [address + b", 127.0.0.1", b"X-Real-IP: 127.0.0.1", b"X-Request-ID: %032x" % number]
    body = request.partition(b"\r\n\r\n")[2]
    return b"\r\n".join([line, host, *own, *fields, b"", body])


def _request(kind: str, number: int, user: Mapping[str, str], *, forwarded: bool) -> bytes:
    fields = dict(user)
    body = b""
    fields["Referer"] = f"{fields['Origin']}/orders?page={number % 97}"
    if kind == "post":
        body = _POSTED
        fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    else:
        del fields["Origin"]  # browsers send it with what changes something
    if kind == "same":
        fields["If-None-Match"] = f'"{number:x}"'
    if forwarded:
        fields["X-Forwarded-For"] = f"203.0.{number // 250 % 250}.{number % 250}"
    line = f"{'POST' if kind == 'post' else 'GET'} /api/{kind}/{number}?page={number % 7} HTTP/1.1"
    head = "\r\n".join([line, *(f"{name}: {value}" for name, value in fields.items()), "", ""])
    return head.encode() + body
