"""The streams of a test's server, all of which are closed when the test is over."""

import asyncio

_MANY = 10_000


class OpenStreams:
    """The streams that a server has accepted, or opened for those.

    A task that is cancelled before its first step, or while it reads, closes nothing: what it leaves open is
    told as a fault of whichever test runs when the garbage collector finds it.
    """

    def __init__(self) -> None:
        self._writers: list[asyncio.StreamWriter] = []
        self._over = False

    def keep(self, writer: asyncio.StreamWriter) -> bool:
        """Keeps a stream; False, and the stream broken off, if the server is at its end."""
        if self._over:
            writer.transport.abort()
            return False
        if len(self._writers) >= _MANY:  # a server that runs for hours: those that have ended are gone by now
            self._writers = [each for each in self._writers if not each.is_closing()]
        self._writers.append(writer)
        return True

    async def close(self) -> None:
        """Breaks off all streams, now and later, and waits until they are closed."""
        self._over = True
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)
