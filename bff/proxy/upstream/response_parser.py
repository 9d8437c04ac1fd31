"""Reads a backend's answers off the wire, and refuses each that two readers could frame differently.

No I/O: bytes go in by `feed`, and what they brought lies in the attributes until the next `feed`. The parser
is httptools' (llhttp); what it would let through, and what it cannot know, is decided here.

Rule 1: nothing is handed out of a feed that was refused, so that a refusal is an error of ours and not a
broken answer wherever the whole answer came at once.
Rule 2: framing is decided once, at the end of the head; a field that comes later (a trailer) is dropped.
Rule 3: an answer to HEAD, and a 204 or 304, ends with its head (RFC 9112, 6.3): the parser sees nothing that
comes behind it, and a 204 or 304 shows it no framing field. Where such a head promises content, or bytes came
behind it, the answer is not `persistent`: a server that does send the content would have it read as the next
call's answer.
Rule 4: the callbacks raise only `_RefusedError`; httptools turns that into an error of its own, and `refusal`
says why.
Rule 5: in reads of many chunks framing is weighed against content, and refused beyond a bound: it costs far
more than it carries. A server that sends a byte now and then is not meant.
"""

import re
from typing import NamedTuple

import httptools

from bff.proxy.upstream.interfaces import Header
from bff.proxy.upstream.whole_response import Whole, read_whole


class AnswerLimits(NamedTuple):
    """`head_bytes`: of a header block, and of framing not outweighed by content; `fields`: of a header block.

    Below `whole_answer.MOST_HEAD` and `MOST_FIELDS` the short cuts would let more pass.
    """

    head_bytes: int = 64 * 1024
    fields: int = 200


DEFAULT_LIMITS = AnswerLimits()

_MANY = 64  # chunks in one read: more are no slow server's
MAX_INTERIM = 16
"""How many 1xx answers may come before the final one."""

_FRAMING_FIELDS = frozenset({b"content-length", b"transfer-encoding", b"connection"})
_LENGTH = re.compile(rb"[0-9]{1,18}")
_REASON_FORBIDDEN = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

_STATUS_MIN = 100
_SWITCHING = 101
_OK = 200
_STATUS_MAX = 599
_FIRST_BYTE = ord("H")
_STATUS_AT, _STATUS_END = 9, 12  # bytes into a status line
_BARE = frozenset({b"204", b"304"})  # statuses without content, whatever the fields say
_NOT_HTTP = "the answer does not begin with HTTP"

_AFTER_THE_END = "data after the end of the answer"
_TOO_LARGE = "header block too large"


class _RefusedError(Exception):
    """Leaves the parser from within a callback; `ResponseParser.refusal` has the reason."""


class ResponseParser:
    """The answers of one connection, one after the other: `begin`, then `feed` until `done` or `refusal`.

    Attributes:
        interim: the 1xx answers that the last feed brought, as status and headers.
        head_done: the final answer's head is complete: `status`, `reason` and `headers` hold.
        chunks: the pieces of content that the last feed brought, chunked coding removed.
        done: the answer is complete, and was delimited beyond doubt.
        persistent: after `done`: the backend will take another request on this connection.
        refusal: why the answer cannot be passed on (it names no header and no content), else None.
    """

    __slots__ = (
        "_bare",
        "_barren",
        "_by_lines",
        "_closes",
        "_coding",
        "_extra",
        "_fed",
        "_head_only",
        "_interim_count",
        "_length",
        "_limits",
        "_line",
        "_no_content",
        "_parser",
        "_pristine",
        "_status_due",
        "_until_close",
        "chunks",
        "done",
        "head_done",
        "headers",
        "interim",
        "persistent",
        "reason",
        "refusal",
        "status",
    )

    def __init__(self, limits: AnswerLimits | None = None) -> None:
        self._limits = limits or DEFAULT_LIMITS
        self._parser: httptools.HttpResponseParser | None = None
        self.begin(no_content=False)

    def begin(self, *, no_content: bool) -> None:
        """A request was sent: an answer may come. `no_content` says that it was HEAD (RFC 9112, 6.3)."""
        if self._parser is None:
            self._parser = httptools.HttpResponseParser(self)
        self._no_content = no_content
        self._barren = 0
        self._extra = 0  # bytes of chunk framing that the content has not outweighed
        self._by_lines = False
        self._head_only = False  # the final head is complete, and with it the answer
        self._line = bytearray()
        self._fed = 0
        self._interim_count = 0
        self._pristine = True
        self._until_close = False
        self.interim: list[tuple[int, list[Header]]] = []
        self.chunks: list[bytes] = []
        self.done = False
        self.head_done = False
        self.persistent = False
        self.refusal: str | None = None
        self.status = 0
        self._begin_head()

    def _begin_head(self) -> None:
        self.reason = b""
        self.headers: list[Header] = []
        self._length: bytes | None = None
        self._coding: bytes | None = None
        self._closes = False
        self._status_due = True
        self._bare = False

    def feed(self, data: bytes) -> None:
        """Takes what arrived; `interim`, `chunks` and the flags then say what it brought.

        Data after the end is a refusal (RFC 9112, 6.3); once refused, an answer is not fed again.
        """
        if self.interim:
            self.interim = []
        if self.chunks:
            self.chunks = []
        parser = self._parser
        if self._head_only:
            self.persistent = False
            return
        if parser is None:  # given up at the end of the last answer
            self.refusal = _AFTER_THE_END
            return
        if self._pristine:
            if not self._no_content and (whole := read_whole(data)) is not None:
                self._take_whole(whole)
                return
            if data[0] != _FIRST_BYTE:  # the parser would skip empty lines, and take RTSP and ICE for HTTP
                self.refusal = _NOT_HTTP
                return
            self._pristine = False
            status = data[_STATUS_AT:_STATUS_END]
            self._by_lines = (
                self._no_content or status in _BARE or status[:1] == b"1" or len(data) < _STATUS_END
            )
        self._fed = self._barren + len(data)
        behind_head = len(data) if self.head_done else 0
        try:
            if self._by_lines:
                self._feed_lines(parser, data)
            elif self.done:
                self._refuse(_AFTER_THE_END)
            else:
                parser.feed_data(data)
        except (httptools.HttpParserError, _RefusedError) as error:
            if self.refusal is None:
                self.refusal = _AFTER_THE_END if self.done else f"not valid HTTP: {error}"
        self._settle(behind_head)

    def _take_whole(self, whole: Whole) -> None:
        self._pristine = False
        self.status, self.reason, self.headers = whole.status, whole.reason, whole.headers
        self.persistent = not whole.closes
        self.head_done = self.done = True
        if whole.content:
            self.chunks = [whole.content]

    @property
    def interim_seen(self) -> bool:
        """Whether a 1xx came before the final answer."""
        return self._interim_count > 0

    def feed_eof(self) -> bool:
        """The backend will send no more: does that end the answer cleanly (RFC 9112, 6.3)?"""
        if self._until_close and self.head_done and self.refusal is None:
            self.done = True
        return self.done

    def _feed_lines(self, parser: httptools.HttpResponseParser, data: bytes) -> None:
        """Feeds line by line up to the end of the head, and the rest at once.

        The parser does not know about HEAD, and must not see beyond its head; it would take the framing of a
        204 at its word; and between an interim answer and the next it would skip empty lines.
        """
        at = 0
        while at < len(data):
            if self._head_only:
                self.persistent = False
                return
            if self.head_done:
                parser.feed_data(data[at:])
                return
            if self._status_due and not self._line and data[at] != _FIRST_BYTE:
                self._refuse(_NOT_HTTP)
            self._pristine = False
            end = data.find(b"\n", at) + 1
            piece = data[at : end or None]
            at += len(piece)
            if not (self._status_due or self._bare):
                parser.feed_data(piece)
                continue
            line = self._line
            line += piece
            if self._status_due and (end or len(line) >= _STATUS_END):
                self._bare = bytes(line[_STATUS_AT:_STATUS_END]) in _BARE
                if end or not self._bare:
                    self._status_due = False
                    self._feed_held(parser)
            elif end:
                self._feed_held(parser)

    def _feed_held(self, parser: httptools.HttpResponseParser) -> None:
        whole = bytes(self._line)
        self._line.clear()
        if not (self._bare and self._withholds(whole)):
            parser.feed_data(whole)

    def _withholds(self, line: bytes) -> bool:
        """Takes note of a framing field of an answer that has no content; True if it is one."""
        name, _, value = line.partition(b":")
        name = name.lower()
        if name not in (b"content-length", b"transfer-encoding"):
            return False
        self._note_framing(name, value.strip(b" \t\r\n"))
        return True

    def _weigh(self, fed: int) -> None:
        """Bounds chunk framing against content (Rule 5)."""
        content = sum(map(len, self.chunks))
        framing = fed - content if len(self.chunks) > _MANY else 0
        self._extra = max(0, self._extra + framing - content)
        if self._extra > self._limits.head_bytes and self.refusal is None and not self.done:
            self.refusal = "more chunk framing than content"

    def _settle(self, behind_head: int) -> None:
        """Bounds what a feed may cost, and leaves no parser behind that is in the middle of a message."""
        if behind_head and (self._extra or len(self.chunks) > _MANY):
            self._weigh(behind_head)
        if self.chunks or self.done:
            self._barren = 0
        else:
            self._barren = self._fed
            if self._fed > self._limits.head_bytes and self.refusal is None:
                self.refusal = (
                    "too much framing without content" if self.head_done else "header block too large"
                )
        if self.refusal is not None:
            self._parser = None
            self.interim = []
            self.chunks = []
        elif self.done and self._no_content:
            self._parser = None

    def _refuse(self, why: str) -> None:
        self.refusal = why
        raise _RefusedError

    # The callbacks of httptools.

    def on_message_begin(self) -> None:
        """A status line begins."""
        if self.done:
            self._refuse(_AFTER_THE_END)

    def on_status(self, reason: bytes) -> None:
        """A piece of the reason phrase."""
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field, of the head or of the trailer section."""
        if self.head_done:
            return
        name = name.lower()
        value = value.rstrip(b" \t")
        self.headers.append((name, value))
        if name in _FRAMING_FIELDS:
            self._note_framing(name, value)

    def _note_framing(self, name: bytes, value: bytes) -> None:
        if name == b"connection":
            self._closes = self._closes or b"close" in value.lower()
        elif name == b"content-length":  # twice is refused even where both agree
            self._length = value if self._length is None else self._length + b"," + value
        else:
            self._coding = value.lower() if self._coding is None else self._coding + b"," + value

    def on_headers_complete(self) -> None:
        """The head is complete: judge it before a byte of content is read."""
        parser = self._parser
        assert parser is not None
        status: int = parser.get_status_code()
        version: str = parser.get_http_version()
        why = self._objection(status, version) or self._size_objection()
        if not self._bare:
            why = why or self._framing_objection(status, version)
        if why is not None:
            self._refuse(why)
        self.status = status
        if status < _OK:
            self._interim_count += 1
            if self._interim_count > MAX_INTERIM:
                self._refuse("too many interim answers")
            if version != "1.1" or self._closes:  # RFC 9110 15.2; and nothing can follow it
                self._refuse("an interim answer that ends the connection")
            return
        self.head_done = True
        bodyless = self._no_content or self._bare
        self._until_close = not bodyless and self._length is None and self._coding is None
        self.persistent = not (self._closes or self._until_close or version != "1.1")
        if bodyless:
            self.done = self._head_only = True
            self.persistent = self.persistent and not self._promises_content()
            if self._bare and self._coding is None and _LENGTH.fullmatch(self._length or b""):
                self.headers.append((b"content-length", self._length or b""))

    def _promises_content(self) -> bool:
        """Whether a broken server might send content behind an answer that ends with its head."""
        if self._coding is not None:
            return True
        if self._length is None:
            return not self._bare or any(name == b"content-encoding" for name, _ in self.headers)
        return self._length.strip(b"0") != b""

    def _objection(self, status: int, version: str) -> str | None:
        """What is wrong with this head, its framing apart."""
        if version not in ("1.1", "1.0"):
            return "neither HTTP/1.1 nor HTTP/1.0"
        if status == _SWITCHING:
            return "101, and no upgrade was asked for"
        if not _STATUS_MIN <= status <= _STATUS_MAX:
            return "a status outside 100 to 599"
        if self.reason != b"OK" and _REASON_FORBIDDEN.search(self.reason):
            return "a control character in the reason phrase"
        return None

    def _size_objection(self) -> str | None:
        """The bounds of the header block; its bytes are counted only where they can be too many."""
        if len(self.headers) > self._limits.fields:
            return "too many header fields"
        if self._fed > self._limits.head_bytes:
            size = len(self.reason) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self._limits.head_bytes:
                return _TOO_LARGE
        return None

    def _framing_objection(self, status: int, version: str) -> str | None:
        """What would let another reader see another end of this answer (RFC 9112, 6)."""
        coding, length = self._coding, self._length
        contentless = status < _OK
        if coding is not None:
            if length is not None:
                return "both Content-Length and Transfer-Encoding"
            if coding != b"chunked" or version == "1.0" or contentless:
                return "a Transfer-Encoding that does not belong there"
        elif length is not None:
            if _LENGTH.fullmatch(length) is None:
                return "a malformed or repeated Content-Length"
            if contentless and length.strip(b"0"):
                return "a Content-Length that does not belong there"
        return None

    def on_body(self, chunk: bytes) -> None:
        """A piece of content."""
        self.chunks.append(chunk)

    def on_message_complete(self) -> None:
        """The end of an interim answer, or of the final one."""
        if self.head_done:
            self.done = True
        else:
            self.interim.append((self.status, self.headers))
            self._pristine = True
            self._begin_head()
