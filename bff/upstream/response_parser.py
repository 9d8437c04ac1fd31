"""A parser of a backend's answers, which refuses each that two readers could frame differently. No I/O.

Bytes go in by `feed`; the results lie in the attributes until the next `feed`.

Rule 1: nothing is handed out of a feed that was refused, so that a refusal is an error of ours and not a
broken answer wherever the whole answer came at once.
Rule 2: a head is judged line by line when it is complete; lines repeat from answer to answer, so that each is
judged once. Framing is decided at the end of the head; a field that comes later (a trailer) is dropped.
Rule 3: an answer to HEAD, and a 204 or 304, ends with its head (RFC 9112, 6.3), and no framing field of a 204
or 304 counts. Where such a head promises content, or bytes came behind it, the answer is not `persistent`: a
server that does send the content would have it read as the next call's answer.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from bff.policy.chunked_body import WITHOUT_CONTENT, ChunkedContent, FramingError, LengthContent
from bff.policy.fields import Header


class AnswerLimits(NamedTuple):
    """The limits of an answer: bytes of a header block, and of framing beyond the content; fields of a block.

    No setting is below `MOST_PLAIN_HEAD` and `MOST_PLAIN_FIELDS`, within which a fast call is answered.
    """

    head_bytes: int = 64 * 1024
    fields: int = 200


DEFAULT_LIMITS = AnswerLimits()
MOST_PLAIN_HEAD, MOST_PLAIN_FIELDS = 16 * 1024, 100
MAX_INTERIM = 16
"""The number of 1xx answers that may come before the final one."""

END = b"\r\n\r\n"
PLAIN, LENGTH, CODING, CONNECTION = range(4)
"""The kinds of field lines, by their part in the framing."""

_UNWEIGHED = 64  # chunks in one read, whatever their framing: a server that sends a byte now and then
_NOTHING = LengthContent(0)
_MOST_LINES, _LONGEST_LINE = 4096, 1024  # lines that are kept, then all are forgotten; bytes of one
_SWITCHING, _OK = 101, 200
_STATUS = re.compile(rb"HTTP/([0-9]\.[0-9]) ([0-9]{3})(?: ([^\r\n]*))?")
_REASON_FORBIDDEN = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_VISIBLE, _TEXT = rb"[\x21-\x7e\x80-\xff]", rb"[\t\x20-\x7e\x80-\xff]"
_FIELD = re.compile(
    rb"([!#$%%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(%b(?:%b*%b)?)?[ \t]*" % (_VISIBLE, _TEXT, _VISIBLE)
)
_DIGITS = re.compile(rb"[0-9]{1,18}")
_BARE_LINE_END = re.compile(rb"(?<!\r)\n|\r[^\n]")
_KINDS = {b"content-length": LENGTH, b"transfer-encoding": CODING, b"connection": CONNECTION}
_TOO_LARGE = "header block too large"

known_statuses: dict[bytes, tuple[int, bool]] = {}
_fields: dict[bytes, tuple[int, Header]] = {}


class RefusedError(Exception):
    """The answer cannot be passed on; the text says why, and names no header and no content."""


def read_status(line: bytes) -> tuple[int, bool]:
    """Returns the status, and true for HTTP/1.1, of a status line.

    Raises:
        RefusedError: it is none that could be passed on.
    """
    known = known_statuses.get(line)
    if known is None:
        known = _judge_status(line)
        if len(line) <= _LONGEST_LINE:
            if len(known_statuses) >= _MOST_LINES:
                known_statuses.clear()
            known_statuses[line] = known
    return known


def _judge_status(line: bytes) -> tuple[int, bool]:
    found = _STATUS.fullmatch(line)
    if found is None:
        raise RefusedError("not valid HTTP: a malformed status line")
    version, status, reason = found[1], int(found[2]), found[3] or b""
    if version not in (b"1.1", b"1.0"):
        raise RefusedError("not valid HTTP: neither HTTP/1.1 nor HTTP/1.0")
    if status == _SWITCHING:
        raise RefusedError("101, and no upgrade was asked for")
    if not 100 <= status <= 599:  # noqa: PLR2004 - the classes that there are (RFC 9110, 15)
        raise RefusedError("a status outside 100 to 599")
    if _REASON_FORBIDDEN.search(reason):
        raise RefusedError("a control character in the reason phrase")
    return status, version == b"1.1"


def read_field(line: bytes) -> tuple[int, Header]:
    """Returns the kind of a field line, and the field, its name in lower case.

    Raises:
        RefusedError: no other reader could be trusted to read it alike.
    """
    known = _fields.get(line)
    if known is None:
        found = _FIELD.fullmatch(line)
        if found is None:
            raise RefusedError("not valid HTTP: a malformed field line")
        name = found[1].lower()
        known = _KINDS.get(name, PLAIN), (name, found[2] or b"")
        if len(line) <= _LONGEST_LINE and name != b"set-cookie":  # which is one client's own, and a secret
            if len(_fields) >= _MOST_LINES:
                _fields.clear()
            _fields[line] = known
    return known


class ResponseParser:
    """The answers of one connection, one after the other: `begin`, then `feed` until `done` or `refusal`.

    Attributes:
        interim: the 1xx answers that the last feed brought, as status and headers.
        interim_seen: the number of those that the answer had so far.
        head_done: the final answer's head is complete: `status` and `headers` hold.
        chunks: the pieces of content that the last feed brought, chunked coding removed.
        done: the answer is complete, and was delimited beyond doubt.
        persistent: after `done`: the backend will take another request on this connection.
        refusal: why the answer cannot be passed on (it names no header and no content), else None.
    """

    def __init__(self, limits: AnswerLimits | None = None) -> None:
        self._limits = limits or DEFAULT_LIMITS
        self._buffer = bytearray()  # of a head or a line that is not complete
        self.begin(no_content=False)

    def begin(self, *, no_content: bool) -> None:
        """Begins the answer to a request that was sent; `no_content`: to HEAD (RFC 9112, 6.3)."""
        self._no_content = no_content
        self._buffer.clear()
        self._step: Callable[[bytes], None] = self._read_head
        self._content: LengthContent | ChunkedContent = _NOTHING
        self._until_close = False
        self.interim: list[tuple[int, list[Header]]] = []
        self.interim_seen = 0
        self.chunks: list[bytes] = []
        self.headers: list[Header] = []
        self.status = 0
        self.done = self.head_done = self.persistent = False
        self.refusal: str | None = None

    def resume(self, left: int) -> None:
        """Goes on, after `begin`, within an answer of known length, of which `left` bytes are to come."""
        self.head_done = self.persistent = True
        self._content, self._step = LengthContent(left), self._read_content

    def feed(self, data: bytes) -> None:
        """Takes bytes; `interim`, `chunks` and the flags then hold the results.

        Data after the end is a refusal (RFC 9112, 6.3), but behind an answer that ends with its head it is
        dropped (Rule 3); once refused, an answer is not fed again.
        """
        if self.interim:
            self.interim = []
        if self.chunks:
            self.chunks = []
        try:
            self._step(data)
        except RefusedError as refused:
            self.refusal = str(refused)
            self.interim, self.chunks = [], []

    def feed_eof(self) -> bool:
        """Takes the end of the stream; returns true if that ends the answer cleanly (RFC 9112, 6.3)."""
        if self._until_close and self.refusal is None:
            self.done = True
        return self.done

    # The head

    def _read_head(self, data: bytes) -> None:
        buffer = self._buffer
        if buffer:
            buffer += data
            seen, data = len(buffer) - len(data), b""
            end = buffer.find(END, max(0, seen - 3))
            if end >= 0:
                data = bytes(buffer)
                buffer.clear()
        else:
            seen, end = 0, data.find(END)
        if not (data or buffer).startswith(
            b"HTTP"[: len(data or buffer)]
        ):  # RTSP, ICE, HTTP/0.9, an empty line
            raise RefusedError("the answer does not begin with HTTP")
        if end < 0:
            if not buffer:
                buffer += data
            if _BARE_LINE_END.search(buffer, max(0, seen - 1)):
                raise RefusedError("not valid HTTP: a malformed field line")
            if len(buffer) > self._limits.head_bytes:
                raise RefusedError(_TOO_LARGE)
            return
        self._judge(data[:end].split(b"\r\n"), end)
        rest = data[end + len(END) :]
        if rest or self.head_done:
            self._step(rest)

    def _judge(self, lines: list[bytes], size: int) -> None:
        """Judges a complete head before a byte of content is read."""
        status, speaks_1_1 = read_status(lines[0])
        if len(lines) - 1 > self._limits.fields:
            raise RefusedError("too many header fields")
        if size > self._limits.head_bytes:
            raise RefusedError(_TOO_LARGE)
        bare = status in WITHOUT_CONTENT
        headers, lengths, codings, closes = _read_fields(lines[1:], bare=bare)
        closes = closes or not speaks_1_1
        self.status, self.headers = status, headers
        if not bare:
            _refuse_doubtful(status, lengths, codings, speaks_1_1=speaks_1_1)
        if status < _OK:
            self._note_interim(closes)
            return
        self.head_done = True
        self.persistent = not closes
        if bare or self._no_content:
            self.done, self._step = True, self._drop
            if bare and len(lengths) == 1 and not codings and _DIGITS.fullmatch(lengths[0]):
                headers.append((b"content-length", lengths[0]))
            if _promises_content(headers, lengths, codings, bare=bare):
                self.persistent = False
        elif codings:
            self._content = ChunkedContent(self._limits.head_bytes, _UNWEIGHED)
            self._step = self._read_content
        elif lengths:
            self._content, self._step = LengthContent(int(lengths[0])), self._read_content
        else:
            self._until_close, self.persistent, self._step = True, False, self._read_until_close

    def _note_interim(self, closes: bool) -> None:
        self.interim_seen += 1
        if self.interim_seen > MAX_INTERIM:
            raise RefusedError("too many interim answers")
        if closes:  # RFC 9110 15.2; and nothing can follow it
            raise RefusedError("an interim answer that ends the connection")
        self.interim.append((self.status, self.headers))

    # The content

    def _read_content(self, data: bytes) -> None:
        content, at = self._content, 0
        try:
            while at < len(data) and not content.over:
                piece, taken = content.take(data[at:] if at else data)
                at += taken
                if piece:
                    self.chunks.append(piece)
        except FramingError as error:
            raise RefusedError(f"not valid HTTP: {error}") from None
        if content.over:
            self._end(data[at:])

    def _read_until_close(self, data: bytes) -> None:
        if data:
            self.chunks.append(data)

    def _drop(self, data: bytes) -> None:
        if data:
            self.persistent = False

    def _end(self, rest: bytes) -> None:
        """Ends the answer, and passes over a mere line end behind it in the same read."""
        self.done, self._step = True, self._refuse_more
        if rest:
            self.persistent = False
            if rest.strip(b"\r\n"):
                self._refuse_more(rest)

    def _refuse_more(self, data: bytes) -> None:  # noqa: ARG002 - the form of each step
        """Refuses another answer to one request (RFC 9112, 6.3)."""
        raise RefusedError("data after the end of the answer")


def _read_fields(lines: list[bytes], *, bare: bool) -> tuple[list[Header], list[bytes], list[bytes], bool]:
    """Returns fields (where `bare`, without those of framing), lengths, codings, and `close` of a head."""
    headers: list[Header] = []
    lengths: list[bytes] = []
    codings: list[bytes] = []
    closes = False
    for line in lines:
        kind, field = _fields.get(line) or read_field(line)
        if kind == CONNECTION:
            closes = closes or b"close" in field[1].lower()
        elif kind:
            (lengths if kind == LENGTH else codings).append(field[1])
            if bare:
                continue
        headers.append(field)
    return headers, lengths, codings, closes


def _refuse_doubtful(status: int, lengths: list[bytes], codings: list[bytes], *, speaks_1_1: bool) -> None:
    """Refuses fields that would let another reader see another end of this answer (RFC 9112, 6)."""
    interim = status < _OK
    if codings:
        if lengths:
            raise RefusedError("not valid HTTP: both Content-Length and Transfer-Encoding")
        if len(codings) > 1 or codings[0].lower() != b"chunked" or not speaks_1_1 or interim:
            raise RefusedError("a Transfer-Encoding that does not belong there")
    elif lengths:
        if len(lengths) > 1 or _DIGITS.fullmatch(lengths[0]) is None:  # twice even where both agree
            raise RefusedError("not valid HTTP: a malformed or repeated Content-Length")
        if interim and lengths[0].strip(b"0"):
            raise RefusedError("a Content-Length that does not belong there")


def _promises_content(
    headers: list[Header], lengths: list[bytes], codings: list[bytes], *, bare: bool
) -> bool:
    """Returns true if a broken server might send content behind an answer that ends with its head."""
    if codings:
        return True
    if not lengths:
        return not bare or any(name == b"content-encoding" for name, _ in headers)
    return len(lengths) > 1 or lengths[0].strip(b"0") != b""
