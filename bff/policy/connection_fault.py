"""The reason why a connection was not made, found in the chain of an error. Pure.

Rule 1: no address and no word of the peer's is repeated; the settings' address stands beside the reason.
"""

import errno
import re

_NUMBER = re.compile(r"\[Errno (\d{1,3})\]")
_WORDS = {
    errno.ECONNREFUSED: "connection refused: nothing listens there",
    errno.ECONNRESET: "the connection was reset",
    errno.EHOSTUNREACH: "no route to the host",
    errno.ENETUNREACH: "no route to the network",
    errno.ENOENT: "there is no such socket",
    errno.EACCES: "permission denied",
}


def connection_fault(error: BaseException | None) -> str | None:
    """Returns the reason, as "the name does not resolve"; None where the chain has no error of the system's.

    The innermost one counts: HTTP and Redis clients wrap it into errors of their own. Of several addresses
    that were tried the first one's counts.
    """
    found: str | None = None
    while error is not None:
        found = _words(error) or found
        if isinstance(error, BaseExceptionGroup):
            return connection_fault(error.exceptions[0]) or found
        error = error.__cause__ or error.__context__
    return found


def _words(error: BaseException) -> str | None:
    if not isinstance(error, OSError):
        return None
    if type(error).__name__ == "gaierror":  # socket's; this file does without its module
        return "the name does not resolve"
    reason = getattr(error, "reason", None)  # ssl.SSLError's
    if reason == "WRONG_VERSION_NUMBER":
        return "no TLS is spoken there (WRONG_VERSION_NUMBER)"
    if isinstance(reason, str):
        return f"TLS: {reason}"
    number = error.errno
    if number is None and (first := _NUMBER.search(str(error))) is not None:
        number = int(first[1])  # asyncio's "Multiple exceptions: [Errno 111] …", which has no chain
    return _WORDS.get(number) if number is not None else None
