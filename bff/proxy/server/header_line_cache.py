"""A cache of header lines: each line that clients repeat is read and judged once.

Heads differ from call to call (path, cookie, addresses, ids); most of their lines do not, and a client
sends them in one order. `LineCache.read` takes a whole request apart by looking its lines up: blocks of them,
each by its first line and one comparison of the others; the lines that a reverse proxy has added by one match
(`proxy_lines.py`); and in between single ones.

Rule 1: a line that could name somebody is never kept. Only fields of the names in `KEPT` are
(`policy/header_line_kinds.py`), so a field that an application has invented is read anew each time.
Rule 2: a shortcut and never a judge. A request that is anything but plain beyond doubt is None, and goes to
the request parser, which refuses it or takes it.
Rule 3: a line is known by all of its bytes, without those that end it.
Rule 4: a block consists of lines that are kept, and so names nobody. It only becomes shorter: clients that
differ behind its first line leave it the lines that all of them have there. Where there are several hosts,
the lines behind Host are kept once for all, and Origin, which differs with Host, only begins a block.
"""

from collections.abc import Callable

from bff.allowed_bytes import allowing
from bff.policy.body_length import MAX_LENGTH_DIGITS
from bff.policy.fields import Header
from bff.policy.header_line_kinds import (
    ADDRESS,
    CONNECTION,
    COOKIE,
    GUARD,
    HOST,
    KEPT,
    LENGTH,
    ORIGIN,
    OTHER,
    PLAIN,
    REQUEST_ID,
    SINGLE,
    TOKEN,
    TRACE,
)
from bff.policy.request_limits import RequestLimits
from bff.proxy.server.plain_request import Line, Place, PlainRequest
from bff.proxy.server.proxy_lines import MOST, ProxyLines

_MOST_LINES = 4096  # in each of the two generations
_MOST_NAMES, _LONGEST_NAME = 256, 32  # names that are kept, then all are forgotten; their length in bytes
_LONGEST = 512  # bytes of a line that is kept
_MOST_BLOCKS = 256  # of a method, beside one for each host; then all are forgotten
_LONGEST_BLOCK = 1024  # bytes, to which one more line may come
_LINE_END, _END = b"\r\n", b"\r\n\r\n"
_SPELLINGS = 2  # of one host
_FEWEST = 2  # lines from Host on that are not worth a match: it would keep longer ones from being learnt
_RELEARNT = 64  # requests through a proxy that adds other lines, until those are taken
_TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"  # RFC 9110 5.6.2
_METHODS = frozenset({b"GET", b"POST", b"PUT", b"PATCH", b"DELETE"})
_VALUE = allowing({0x09, *range(0x20, 0x7F), *range(0x80, 0x100)})
_TARGET = allowing({*range(0x21, 0x7F)} - {ord("#")})

Block = tuple[bytes, bytes, tuple[Header, ...], Place | None, bytes | None, int]
"""Header lines in a row: those behind the first one as they come, all as they go to a backend, the fields
that are GUARD, the place of Host if that is the first one, the value of Origin, the number of lines."""

_DOUBTFUL: Line = OTHER, b"", (b"", b"")
_NO_LINES = ProxyLines({})


class LineCache:
    """The lines of all connections of a process.

    Args:
        limits: those of the request parser; a head beyond them is not plain.
        csrf_header: the name of the CSRF header, in lower case.
        passes: whether a field of this name may go to a backend.
    """

    def __init__(self, *, limits: RequestLimits, csrf_header: bytes, passes: Callable[[bytes], bool]) -> None:
        self.limits = limits
        self.csrf_header = csrf_header
        self.places = {host: Place(host) for host in limits.hosts.names}
        self._several = len(self.places) > _SPELLINGS
        self._guarded = frozenset({csrf_header, b"sec-fetch-site"})
        self._kept = KEPT | {csrf_header}
        self._passes = passes
        self._read_line = self.line
        self._max_bytes = limits.max_head_bytes
        self._max_fields = limits.max_head_fields
        self._max_path = limits.max_path_bytes
        self._young: dict[bytes, Line] = {}
        self._old: dict[bytes, Line] = {}
        self._most_blocks = _MOST_BLOCKS + len(self.places)
        self._blocks: dict[bytes, dict[bytes, Block]] = {method: {} for method in _METHODS}
        self._tails: dict[bytes, tuple[bytes, bytes, tuple[Header, ...]]] = {}  # of the blocks behind Host
        self._names: dict[bytes, tuple[int, bytes, bool, bytes]] = {}  # as they are spelt
        self._proxy_lines, self._strangers = ProxyLines({}), _RELEARNT

    def read(self, data: bytes) -> PlainRequest | None:  # noqa: C901, PLR0911, PLR0912, PLR0915 - a branch a kind
        """Returns the request that these bytes are, if they are one and no more; None to ask the parser."""
        if data[-4:] == _END and len(data) <= self._max_bytes:
            end = len(data) - len(_END)  # behind an earlier end a line would be empty, and doubtful
        else:
            end = data.find(_END, 0, self._max_bytes)
        if end < 0:
            return None
        raw = data[: end + len(_LINE_END)]
        begin, _, rest = raw.partition(_LINE_END)
        words = begin.split(b" ")
        if len(words) != 3 or words[2] != b"HTTP/1.1":  # noqa: PLR2004 - RFC 9112 3
            return None
        method, target, _ = words
        blocks = self._blocks.get(method)
        if blocks is None or target[:1] != b"/" or target.translate(_TARGET) != target:
            return None
        request = PlainRequest()
        request.method, request.raw, request.read_line = method, raw, self._read_line
        request.origin = request.cookie = request.request_id = request.trace = None
        request.addresses, request.authorized = (), False
        request.path, _, request.query = target.partition(b"?")
        outgoing: list[bytes] = []
        guarded: list[Header] = []
        request.outgoing, request.guarded = outgoing, guarded
        length, count, young, names, noted = None, 1, self._young, self._names, False
        place: Place | None = None
        most, expected = self._max_fields, self._proxy_lines
        here = expected.host is not None  # they may be the next lines
        while rest and count <= most:  # each line costs a copy of those behind it
            if here:
                here, found = False, expected.match(rest)
                if found is not None:
                    rest = rest[found.end() :]
                    values = found.groups()
                    count += expected.count
                    if (group := expected.host) is not None:
                        place = self.places.get(values[group]) or self._place(values[group])
                        if place is None:  # or another Host could stand further back
                            return None
                        request.addresses = (values[expected.address],)
                    for beginning, group in expected.passing:
                        outgoing.append(beginning + values[group] + _LINE_END)
                    if (group := expected.request_id) is not None:
                        if request.request_id is not None:
                            return None
                        request.request_id = values[group]
                    if (group := expected.trace) is not None:
                        if request.trace is not None:
                            return None
                        request.trace = values[group]
                    expected = _NO_LINES
                    continue
            first, _, rest = rest.partition(_LINE_END)
            block = blocks.get(first)
            if block is not None and rest.startswith(block[0]):
                following, line_out, of_guard, host, origin, lines = block
                rest = rest[len(following) :]
                outgoing.append(line_out)
                guarded += of_guard
                count += lines
                if host is not None:
                    if place is not None:
                        return None
                    place = host
                if origin is not None:
                    if request.origin is not None:
                        return None
                    request.origin = origin
                continue
            count += 1
            name, colon, value = first.partition(b":")
            kind, beginning, kept, name = names.get(name) or self._judge_name(name)
            if not colon or value.translate(_VALUE) != value:
                return None
            if not kept:  # as `line` reads it: a call has several such lines
                value = value.strip()
                if beginning:
                    outgoing.append(beginning + value + _LINE_END)
                if kind == PLAIN:
                    pass
                elif kind == COOKIE and request.cookie is None:
                    request.cookie = value
                elif kind == ADDRESS:
                    request.addresses += (value,)
                    here = expected.host is None and expected.count > 0
                elif kind == REQUEST_ID and request.request_id is None:
                    request.request_id = value
                elif kind == TRACE and request.trace is None:
                    request.trace = value
                elif kind == TOKEN:
                    request.authorized = True
                elif (
                    kind == LENGTH and length is None and value.isdigit() and len(value) <= MAX_LENGTH_DIGITS
                ):
                    length = int(value)
                else:
                    return None
                continue
            line = young.get(first)
            if line is None:
                line = self._keep(first, kind, beginning, name, value)
            elif not noted:
                noted = True
                self._note_block(blocks, first, rest)
            kind, line_out, (name, value) = line
            outgoing.append(line_out)
            if kind == PLAIN:
                pass
            elif kind == GUARD:
                guarded.append((name, value))
            elif kind == HOST and place is None:
                place = self._place(value)
            elif kind == ORIGIN and request.origin is None:
                request.origin = value
            else:
                return None
        if request.addresses and expected is not _NO_LINES:
            self._learn(raw)
        body = data[end + len(_END) :]
        if place is None or len(body) != (length or 0):
            return None
        if len(request.path) > self._max_path or count > most:
            return None
        request.place, request.body = place, body
        return request

    def line(self, raw: bytes) -> Line:
        """Returns what a header line means, and keeps it where that is allowed."""
        name, colon, value = raw.partition(b":")
        kind, beginning, kept, name = self._names.get(name) or self._judge_name(name)
        if not colon or value.translate(_VALUE) != value:
            return _DOUBTFUL
        if kept:
            return self._young.get(raw) or self._keep(raw, kind, beginning, name, value)
        value = value.strip()
        return kind, beginning + value + _LINE_END if beginning else b"", (name, value)

    def _keep(self, raw: bytes, kind: int, beginning: bytes, name: bytes, value: bytes) -> Line:
        """Reads a line of a name that may be kept, and keeps it unless it is old already."""
        line = self._old.pop(raw, None)
        if line is None:
            value = value.strip()
            if kind == HOST:
                kind = HOST if self._place(value) is not None else OTHER
            elif kind == CONNECTION:
                kind = PLAIN if value.lower() in {b"keep-alive", b""} else OTHER
            line = kind, beginning + value + _LINE_END if beginning else b"", (name, value)
        if line[0] != OTHER and len(raw) <= _LONGEST:
            if len(self._young) >= _MOST_LINES:
                self._old, self._young = self._young, {}
            self._young[raw] = line
        return line

    def _note_block(self, blocks: dict[bytes, Block], first: bytes, rest: bytes) -> None:
        """Notes the block of a line that came before: Rule 4. `rest` are the lines behind it in a request."""
        before = blocks.get(first)
        kind, outgoing, field = self.line(first)
        guarded = [field] if kind == GUARD else []
        place = self._place(field[1]) if kind == HOST else None
        origin = field[1] if kind == ORIGIN else None
        size, end = 1, 0
        while end < _LONGEST_BLOCK:
            raw = rest[end : rest.find(_LINE_END, end)]
            kind, line, field = self.line(raw)
            same = before is None or before[0].startswith(raw + _LINE_END, end)
            if not same or raw not in self._young:
                break
            if kind == ORIGIN and origin is None and not self._several:
                origin = field[1]
            elif kind not in {PLAIN, GUARD}:
                break
            outgoing += line
            if kind == GUARD:
                guarded.append(field)
            size += 1
            end += len(raw) + len(_LINE_END)
        tail = rest[:end], outgoing, tuple(guarded)
        if place is not None:  # Host itself goes to no backend
            if len(self._tails) >= _MOST_BLOCKS:
                self._tails.clear()
            tail = self._tails.setdefault(tail[0], tail)
        if len(blocks) >= self._most_blocks:
            blocks.clear()
        blocks[first] = *tail, place, origin, size

    def _learn(self, raw: bytes) -> None:
        """Notes the lines that a proxy adds, once so many requests have had others than those noted."""
        self._strangers += 1
        if self._strangers < _RELEARNT:
            return
        self._strangers = 0
        names = [line.partition(b":")[0] for line in raw.split(_LINE_END)[1:-1]]
        kinds = [self._judge_name(name)[0] for name in names]
        address = kinds.index(ADDRESS)
        lines = self._added(names, {HOST, ADDRESS}) if kinds[0] == HOST else {}
        if len(lines) <= _FEWEST or names[address] not in lines:
            lines = self._added(names[address + 1 :], set())
        self._proxy_lines = ProxyLines(lines)

    def _added(self, names: list[bytes], more: set[int]) -> dict[bytes, tuple[int, bytes]]:
        """Returns the first of these lines as those that a proxy adds; `more` are further kinds to read."""
        lines: dict[bytes, tuple[int, bytes]] = {}
        kinds: set[int] = set()
        for name in names[:MOST]:
            kind, beginning, kept, _ = self._judge_name(name)
            added = kind in more or (not kept and kind in {PLAIN, REQUEST_ID, TRACE})
            if not added or kind in kinds or name in lines or len(name) > _LONGEST_NAME:
                break
            lines[name] = kind, beginning
            if kind != PLAIN:
                kinds.add(kind)
        return lines

    def _place(self, host: bytes) -> Place | None:
        return self.places.get(host) or self.places.get(host.lower())

    def _judge_name(self, raw: bytes) -> tuple[int, bytes, bool, bytes]:
        """Returns what is known by a line's name.

        Returns:
            Its kind, the beginning of the line that goes to a backend (or nothing), if it may be kept, and
            the name in lower case.
        """
        name = raw.lower()
        kind = SINGLE.get(name, PLAIN)
        if not name or name.translate(None, _TOKEN):
            kind = OTHER
        elif name in self._guarded:
            kind = GUARD
        passes = kind in {PLAIN, GUARD, ORIGIN, TOKEN} and self._passes(name)
        known = kind, name + b": " if passes else b"", name in self._kept, name
        if len(name) <= _LONGEST_NAME:
            if len(self._names) >= _MOST_NAMES:
                self._names.clear()
            self._names[raw] = known
        return known
