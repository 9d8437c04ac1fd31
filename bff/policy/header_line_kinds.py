"""The kinds of request header lines, by field name, and the names whose lines may be kept in memory. Pure.

Rule 1: a field that could name somebody (a cookie, a credential, an address, an id, a page) is never kept,
and neither is one that an application has invented: `KEPT` lists all that are.
"""

from typing import Final

PLAIN, HOST, COOKIE, GUARD, ORIGIN, LENGTH, ADDRESS, REQUEST_ID, TRACE, TOKEN, OTHER = range(11)
"""The kinds of lines, by their meaning for a call.

PLAIN goes on to a backend, or does not; the origin check looks at GUARD and ORIGIN; OTHER is the parser's."""

CONNECTION = 11
"""The kind of `Connection`: PLAIN or OTHER, by its value."""

KEPT: Final = frozenset(
    {
        b"accept",
        b"accept-encoding",
        b"accept-language",
        b"cache-control",
        b"connection",
        b"content-type",
        b"dnt",
        b"host",
        b"origin",
        b"pragma",
        b"priority",
        b"sec-ch-ua",
        b"sec-ch-ua-mobile",
        b"sec-ch-ua-platform",
        b"sec-fetch-dest",
        b"sec-fetch-mode",
        b"sec-fetch-site",
        b"sec-gpc",
        b"te",
        b"user-agent",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
    }
)
"""Fields with values that many people share. `Referer` and validators are no such fields: they name pages."""

SINGLE = {
    b"host": HOST,
    b"origin": ORIGIN,
    b"connection": CONNECTION,
    b"content-length": LENGTH,
    b"cookie": COOKIE,
    b"x-forwarded-for": ADDRESS,
    b"x-request-id": REQUEST_ID,
    b"traceparent": TRACE,
    b"authorization": TOKEN,
    b"tracestate": OTHER,  # belongs to its traceparent: the whole forwarder sees to both
    b"transfer-encoding": OTHER,
    b"expect": OTHER,
    b"upgrade": OTHER,
    b"http2-settings": OTHER,
    b"access-control-request-method": OTHER,  # a preflight
}
"""The kinds of fields that are not PLAIN whatever the settings say, by name in lower case."""
