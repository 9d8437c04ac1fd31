"""The query and the body of a request to an endpoint of ours."""

from collections.abc import Sequence
from urllib.parse import parse_qsl

from starlette.requests import Request


def query_of(request: Request) -> list[tuple[str, str]]:
    """Returns the fields of a request's query, in their order; none of one that cannot be read."""
    raw: bytes = request.scope["query_string"]
    try:
        return parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=50, errors="replace")
    except ValueError:  # not ASCII, or too many fields
        return []


def stated_once(query: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Returns the fields that stand exactly once (RFC 6749 3.1); one that is repeated has no value."""
    names = [name for name, _ in query]
    return {name: value for name, value in query if names.count(name) == 1}


async def body_of(request: Request, kind: str, most: int) -> str | None:
    """Returns a body of this media type and of at most so many bytes, all ASCII; None for any other."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != kind:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            return None
    return body.decode("ascii") if body.isascii() else None
