"""`BlockingVerifier`: the verifier for code without an event loop (Flask, Django, WSGI).

Rule 1: the verifier lives on one event loop in a thread of its own, so that its keys and connections are
shared by all threads of the process.
Rule 2: the thread begins with the first token, and anew in a forked process: a server that loads the
application before it forks (`gunicorn --preload`) leaves the thread behind.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Collection, Coroutine
from typing import Any

from .claims import Claims, Refusal, TokenRefusedError
from .request_parts import RequestParts
from .verifier import TokenVerifier


class BlockingVerifier:
    """Checks access tokens from any thread.

    Args:
        create: makes the verifier, such as `lambda: TokenVerifier(issuer=…, audience=…)`, once a process.
        timeout: seconds for a check as a whole; the token is refused (503) when they are over.
    """

    def __init__(self, create: Callable[[], TokenVerifier], timeout: float = 10.0) -> None:
        self._create, self._timeout = create, timeout
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._verifier: TokenVerifier | None = None
        os.register_at_fork(after_in_child=self._forget)

    def verify(self, token: str, scope: Collection[str] = ()) -> Claims:
        """Returns the claims of a good token; raises TokenRefusedError with the reason for a bad one.

        `scope`: the scope that the token needs.
        """
        return self._wait(lambda verifier: verifier.verify(token, scope))

    def verify_request(self, request: RequestParts, scope: Collection[str] = ()) -> Claims:
        """Returns the claims likewise; with the proof that the request shows where the token is bound."""
        return self._wait(lambda verifier: verifier.verify_request(request, scope))

    def close(self) -> None:
        """Closes the connections and ends the thread; the next token begins anew."""
        with self._lock:
            loop, thread, verifier = self._loop, self._thread, self._verifier
            self._loop = self._thread = self._verifier = None
        if loop is not None and thread is not None and verifier is not None:
            asyncio.run_coroutine_threadsafe(verifier.close(), loop).result(self._timeout)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(self._timeout)
            loop.close()

    def _wait(self, check: Callable[[TokenVerifier], Coroutine[Any, Any, Claims]]) -> Claims:
        loop, verifier = self._running()
        checked = asyncio.run_coroutine_threadsafe(check(verifier), loop)
        try:
            return checked.result(self._timeout)
        except TimeoutError:
            checked.cancel()
            raise TokenRefusedError(Refusal.UNAVAILABLE) from None

    def _running(self) -> tuple[asyncio.AbstractEventLoop, TokenVerifier]:
        with self._lock:
            if self._loop is None or self._verifier is None:
                loop, verifier = asyncio.new_event_loop(), self._create()
                thread = threading.Thread(target=loop.run_forever, name="bff-verify", daemon=True)
                thread.start()
                self._loop, self._thread, self._verifier = loop, thread, verifier
            return self._loop, self._verifier

    def _forget(self) -> None:
        self._lock = threading.Lock()  # another thread of the parent may have held the old one
        self._loop = self._thread = self._verifier = None
