"""A million sessions beside a thousand: speed, the near cache's bound, and what a session costs in Redis.

What is real: the sessions that are asked for are sealed under handles of their own with the tokens of a real
sign-in, and written with the fields and indexes that the store writes. The rest, which nobody asks for, has
the same fields and sizes, but another session's sealed bytes: it fills Redis, and would not open.
"""

import re
import secrets
import socket
import statistics
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import redis

from bff.crypto import session_key
from bff.embedded import EmbeddedRedis
from bff.settings.model import SessionSettings
from tests.tools.bench import machine
from tests.tools.bench.contenders.ours import Ours
from tests.tools.bench.environment import JSON, Ground
from tests.tools.bench.figures import Finding
from tests.tools.bench.load import Figures, LoadError, check_answer, run
from tests.tools.bench.machine import on
from tests.tools.bench.scenarios.base import MIB, Scale, Scenario, Tell
from tests.tools.bench.sessions import StoredSession, keys_of, record_in, send, store_copies

_FEW = 1000
_NEEDED_EACH = 9000
"""Bytes of memory that a session may need here at most; without that much nothing is begun."""
_MOST_ABOVE = 2000
_TOLERANCE = 0.05
_CYCLE = """
local requests = {{}}
local next = 0
init = function(arguments)
  for line in io.lines("{file}") do
    wrk.headers["Cookie"] = line
    requests[#requests + 1] = wrk.format("GET", "{path}")
  end
end
request = function()
  next = next % #requests + 1
  return requests[next]
end
"""


class Million(Scenario):
    """Two proxies, each with a Redis of its own: one holds a thousand sessions, one a million."""

    name = "million"
    what = "one million sessions in Redis, sealed as bytes, beside a thousand: speed, memory, bytes of each"

    def __init__(self) -> None:
        self._few, self._many = EmbeddedRedis(), EmbeddedRedis()
        self.ours = [Ours(name, more={"BFF_SESSION__RECORD_FORMAT": "2"}) for name in ("few", "many")]

    def run(self, ground: Ground, scale: Scale, tell: Tell) -> list[Finding]:
        if machine.available_memory() < scale.sessions * _NEEDED_EACH:
            needed = f"{scale.sessions * _NEEDED_EACH / 1e9:.0f} GB free"
            return [Finding(self.name, "left out: too little memory", "", needed)]
        few, many = self.ours
        with on(ground.cores.rest):
            ground.stack.enter_context(self._few)
            ground.stack.enter_context(self._many)
        for proxy, store in ((few, self._few), (many, self._many)):
            proxy.redis_url = store.url
            proxy.start(ground)
        findings = []
        tell("sealing and storing the sessions that are asked for")
        asked_few = self._store_real(few, self._few, _FEW)
        asked_many = self._store_real(many, self._many, scale.asked)
        tell(f"storing {scale.sessions:,} sessions")
        findings += self._fill(asked_many[0], scale.sessions - scale.asked)
        files = {
            "few": _cookie_file(ground, "few", asked_few),
            "many": _cookie_file(ground, "many", asked_many[:_FEW]),
            "spread": _cookie_file(ground, "spread", asked_many),
        }
        return findings + self._speeds(ground, scale, files, tell)

    # Storing

    def _store_real(self, proxy: Ours, store: EmbeddedRedis, count: int) -> list[str]:
        """Stores sessions that open; returns their `Cookie` headers, that of the real sign-in first."""
        return store_copies(proxy.sign_in()["Cookie"], proxy.keys, store.port, store.url, count)

    def _fill(self, cookie: str, count: int) -> list[Finding]:
        """Stores sessions that nobody asks for, and tells what one of them needs, part by part."""
        key = session_key(cookie.partition("=")[2])
        record = record_in(self._many.url, key)
        with redis.Redis.from_url(self._many.url, decode_responses=True) as client:
            fillers = _fillers(record, count)
            last = next(fillers)
            before = int(client.info("memory")["used_memory"])
            started = time.perf_counter()
            with socket.create_connection(("127.0.0.1", self._many.port)) as connection:
                send(connection, fillers)
                send(connection, [last])
            seconds = time.perf_counter() - started
            each = (int(client.info("memory")["used_memory"]) - before) / count
            total: int = client.dbsize()
            parts = {name: client.memory_usage(at, samples=0) or 0 for name, at in keys_of(last)}
        sealed = len(record["tokens"])
        parts["hash, beside the sealed tokens"] -= sealed
        parts["Redis' own tables"] = round(each - sealed - sum(parts.values()))
        above = each - sealed
        return [
            Finding(self.name, "keys in Redis; seconds to store them", f"{total:,}; {seconds:.0f} s"),
            Finding(self.name, "memory of Redis for each session, all in all", f"{each:,.0f} bytes"),
            Finding(self.name, "  sealed tokens", f"{sealed:,} bytes"),
            *(Finding(self.name, f"  {name}", f"{size:,} bytes") for name, size in parts.items()),
            Finding(
                self.name,
                "all in all above the sealed tokens",
                f"{above:,.0f} bytes",
                f"at most {_MOST_ABOVE:,}",
                above <= _MOST_ABOVE,
            ),
        ]

    # Asking

    def _speeds(self, ground: Ground, scale: Scale, files: dict[str, Path], tell: Tell) -> list[Finding]:
        few, many = self.ours
        runs: dict[str, list[Figures]] = {name: [] for name in files}
        assert many.program is not None
        for name, proxy in (("few", few), ("many", many)):
            _ask(ground, proxy, files[name], 1)  # the near caches fill
        for number in range(scale.rounds):
            tell(f"asking for sessions, round {number + 1} of {scale.rounds}")
            for name, proxy in (("few", few), ("many", many)):
                runs[name].append(_ask(ground, proxy, files[name], scale.seconds))
        before = machine.resident_memory(many.program.pid)
        for _ in range(scale.rounds):
            runs["spread"].append(_ask(ground, many, files["spread"], scale.seconds))
        grown = machine.resident_memory(many.program.pid) - before
        change = (
            statistics.median(b.rate / a.rate for a, b in zip(runs["few"], runs["many"], strict=True)) - 1
        )
        rates = {name: statistics.median(figures.rate for figures in found) for name, found in runs.items()}
        return [
            Finding(self.name, f"req/s with {_FEW:,} sessions stored, all asked for", f"{rates['few']:,.0f}"),
            Finding(
                self.name,
                f"req/s with {scale.sessions:,} stored, {_FEW:,} asked for",
                f"{rates['many']:,.0f}",
            ),
            Finding(self.name, "the difference", f"{change:+.1%}", "within 5 %", change >= -_TOLERANCE),
            Finding(
                self.name,
                f"req/s with {scale.sessions:,} stored, {scale.asked:,} asked for in turn",
                f"{rates['spread']:,.0f}",
            ),
            Finding(self.name, "memory of the proxy grew by, meanwhile", f"{grown / MIB:.1f} MiB"),
            *_near_cache(many),
        ]


def _ask(ground: Ground, proxy: Ours, cookies: Path, seconds: float) -> Figures:
    headers = {name: value for name, value in proxy.headers().items() if name != "Cookie"}
    check_answer(proxy.port, JSON, proxy.headers())
    figures = run(
        proxy.port,
        JSON,
        headers,
        connections=32,
        seconds=seconds,
        cores=ground.cores.rest,
        folder=ground.folder,
        script=_CYCLE.format(file=cookies, path=JSON.path),
    )
    if figures.refused or not figures.whole(JSON.answer):
        raise LoadError(f"{figures.refused} of {figures.requests} answers were none")
    if proxy.program is not None:
        proxy.program.forget_log()
    return figures


def _near_cache(proxy: Ours) -> Iterator[Finding]:
    """The near cache's numbers, from the proxy's own metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{proxy.ops_port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    bound = SessionSettings().near_cache_memory
    for name, value in re.findall(
        r"^(bff_near_cache_(?:bytes|entries|lookups)\S*) (\S+)$", text, re.MULTILINE
    ):
        if name == "bff_near_cache_bytes":
            yield Finding(
                "million", name, f"{float(value):,.0f}", f"at most {bound:,}", float(value) <= bound
            )
        else:
            yield Finding("million", name, f"{float(value):,.0f}")


def _fillers(record: dict[str, bytes], count: int) -> Iterator[StoredSession]:
    for _ in range(count):
        key, sub = secrets.token_hex(32), f"u{secrets.token_hex(8)}"
        sid = secrets.token_hex(len(record["sid"]) // 2)
        fields: dict[str, str | bytes] = {**record, "sub": sub, "sid": sid}
        yield StoredSession(key, sub, sid, record["ends"].decode(), list(fields.items()))


def _cookie_file(ground: Ground, name: str, cookies: Sequence[str]) -> Path:
    file = ground.folder / f"cookies.{name}"
    file.write_text("".join(f"{cookie}\n" for cookie in cookies))
    return file
