"""The verifier's HTTP client for the JSON documents of the issuer."""

import asyncio
import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

MAX_DOCUMENT = 512 * 1024
ASKED = {"Accept": "application/json", "Accept-Encoding": "identity"}
"""The request's header fields. They ask for no coding: a little of one can unpack to more than any bound."""
_WHOLE = 2  # times the limit of a step: an answer may come in time piece by piece, and never end


class FetchError(Exception):
    """A document could not be had."""


def trust(ca_file: str | Path | None) -> ssl.SSLContext | bool:
    """Returns the check of server certificates: against a file of authorities, or against the public ones.

    Raises OSError where the file cannot be read or holds no certificate.
    """
    return True if ca_file is None else ssl.create_default_context(cafile=str(ca_file))


class Fetcher:
    """Gets JSON objects: no redirects, a bounded time, a bounded size.

    Args:
        timeout: seconds for each step of a call; the whole of it takes twice that at most.
        trust_env: True honours the variables for proxies and certificates, such as `HTTPS_PROXY`.
        ca_file: a PEM file of authorities, in place of the public ones.
    """

    def __init__(
        self, timeout: float = 5.0, *, trust_env: bool = False, ca_file: str | Path | None = None
    ) -> None:
        self._longest = _WHOLE * timeout
        self._client = httpx.AsyncClient(
            timeout=timeout, follow_redirects=False, trust_env=trust_env, verify=trust(ca_file)
        )

    async def get(self, url: str) -> Mapping[str, Any]:
        """Returns the object at an address; raises FetchError for any failure."""
        body = b""
        try:
            async with (
                asyncio.timeout(self._longest),
                self._client.stream("GET", url, headers=ASKED) as answer,
            ):
                if answer.status_code != httpx.codes.OK:
                    raise FetchError(f"{url} answered {answer.status_code}")
                async for chunk in answer.aiter_raw():
                    body += chunk
                    if len(body) > MAX_DOCUMENT:
                        raise FetchError(f"{url} is too large")
            document = json.loads(body)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError, TimeoutError) as error:
            raise FetchError(f"{url} cannot be read: {type(error).__name__}") from error
        if not isinstance(document, dict):
            raise FetchError(f"{url} is no JSON object")
        return document

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()
