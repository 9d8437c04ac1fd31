"""The content of a message, by its length or in chunks, the same for requests and for answers. Pure.

Rule 1: no byte behind the content is taken for a part of it.
Rule 2: chunk framing is read strictly and weighed against the content that it surrounds; trailers are checked
and dropped (RFC 9112 7.1).
Rule 3: some lines of a chunked body at a time, so that one read does not hold the loop.
"""

import re
from enum import Enum, auto

MOST_LINES = 2048
"""The number of lines of a chunked body that are read in one turn of the loop."""

MAX_EXTRA = 16 * 1024
"""The bytes of chunk framing and trailers that the content need not outweigh."""

WITHOUT_CONTENT = frozenset({204, 304})
"""The final statuses of answers that end with their head (RFC 9112 6.3)."""

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_MAX_SIZE_LINE = 256  # of a chunk: 15 digits and, from very few peers, a signature
_CHUNK_FRAME = 4  # bytes around a chunk's size and content: two line ends
_SIZE = re.compile(
    rb"([0-9A-Fa-f]{1,15})(?:;%b*(?:=(?:%b*|\"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*\"))?)*"
    % (TOKEN, TOKEN)
)
"""A chunk's size and extensions (RFC 9112 7.1.1)."""

_TRAILER = re.compile(rb"(%b+):[\t\x20-\x7e\x80-\xff]*" % TOKEN)
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection"})


class FramingError(ValueError):
    """The end of the content is in doubt, or its framing costs too much; the text names no content."""


class LengthContent:
    """Content of known length."""

    def __init__(self, length: int) -> None:
        self.left = length

    def take(self, data: bytes) -> tuple[bytes, int]:
        """Returns the content in these bytes, and how many of them belong to it."""
        content = data if len(data) <= self.left else data[: self.left]
        self.left -= len(content)
        return content, len(content)

    @property
    def over(self) -> bool:
        """True when the content is complete."""
        return self.left == 0


class _Next(Enum):
    """The next part of a chunked body."""

    SIZE = auto()
    CONTENT = auto()
    CONTENT_END = auto()
    TRAILER = auto()


class ChunkedContent:
    """Content in chunks.

    `max_extra` bounds framing and trailers; the first `unweighed` chunks of a read are not weighed, for a
    sender of a byte now and then.
    """

    def __init__(self, max_extra: int = MAX_EXTRA, unweighed: int = 0) -> None:
        self.over = False
        self._longest = {_Next.SIZE: _MAX_SIZE_LINE, _Next.CONTENT_END: 2, _Next.TRAILER: max_extra}
        self._max_extra = max_extra
        self._unweighed = unweighed
        self._next = _Next.SIZE
        self._line = bytearray()
        self._left = 0  # of the chunk's content
        self._extra = 0

    def take(self, data: bytes) -> tuple[bytes, int]:
        """Returns the content in these bytes, and how many of them belong to it, framing included.

        Stops early after `MOST_LINES` lines.

        Raises:
            FramingError: the framing is malformed, or too much.
        """
        pieces: list[bytes] = []
        at, lines = 0, 0
        while at < len(data) and not self.over and lines < MOST_LINES:
            if self._next is _Next.CONTENT:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._next = _Next.CONTENT_END
            else:
                lines += self._next is not _Next.CONTENT_END
                at = self._take_line(data, at, weighed=lines > self._unweighed)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces), at

    def _take_line(self, data: bytes, at: int, *, weighed: bool) -> int:
        limit = self._longest[self._next]
        newline = data.find(b"\n", at, at + limit)
        end = len(data) if newline < 0 else newline + 1
        self._line += data[at : min(end, at + limit + 1)]
        if self._next is _Next.CONTENT_END and not b"\r\n".startswith(self._line):
            raise FramingError("a chunk is longer than its size")
        if len(self._line) > limit:
            raise FramingError("a line of the chunked body is too long")
        if newline < 0:
            return end
        line = bytes(self._line)
        if not line.endswith(b"\r\n") or line.count(b"\r") != 1:
            raise FramingError("a line of the chunked body does not end with CRLF")
        self._line.clear()
        self._note_line(line[:-2], weighed=weighed)
        return end

    def _note_line(self, line: bytes, *, weighed: bool) -> None:
        if self._next is _Next.CONTENT_END:
            self._next = _Next.SIZE
        elif self._next is _Next.TRAILER:
            self.over = not line
            self._spend(len(line) + 2)
            found = _TRAILER.fullmatch(line)
            if line and (found is None or found[1].lower() in _FRAMING):
                raise FramingError("a trailer that is no field, or that frames")
        else:
            size_line = _SIZE.fullmatch(line)
            if size_line is None:
                raise FramingError("malformed chunk size")
            self._left = size = int(size_line[1], 16)
            framing = len(line) + _CHUNK_FRAME if weighed else 0
            self._spend(framing - size)
            self._next = _Next.CONTENT if size else _Next.TRAILER

    def _spend(self, extra: int) -> None:
        self._extra = max(0, self._extra + extra)
        if self._extra > self._max_extra:
            raise FramingError("more chunk framing or trailers than content")
