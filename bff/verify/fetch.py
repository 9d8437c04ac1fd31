"""The verifier's only network code: JSON documents of the issuer."""

import json
from collections.abc import Mapping
from typing import Any

import httpx

MAX_DOCUMENT = 512 * 1024


class FetchError(Exception):
    """A document could not be had."""


class Fetcher:
    """Gets JSON objects: no redirects, a bounded time, a bounded size.

    `trust_env`: whether the variables for proxies and certificates (`HTTPS_PROXY`, `SSL_CERT_FILE`, …) count.
    """

    def __init__(self, timeout: float = 5.0, *, trust_env: bool = False) -> None:
        self._client = httpx.AsyncClient(timeout=timeout, follow_redirects=False, trust_env=trust_env)

    async def get(self, url: str) -> Mapping[str, Any]:
        """Returns the object at an address; FetchError for whatever goes wrong."""
        body = b""
        try:
            async with self._client.stream("GET", url, headers={"Accept": "application/json"}) as answer:
                if answer.status_code != httpx.codes.OK:
                    raise FetchError(f"{url} answered {answer.status_code}")
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_DOCUMENT:
                        raise FetchError(f"{url} is too large")
            document = json.loads(body)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise FetchError(f"{url} cannot be read: {type(error).__name__}") from error
        if not isinstance(document, dict):
            raise FetchError(f"{url} is no JSON object")
        return document

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()
