"""The sources that tell of bearer tokens which ended before their time, as a route's settings name them.

Rule 1: without an answer there is no verdict: the verifier refuses the call (503), and no token is believed.
Rule 2: an answer is believed for `bearer_fresh`, by a hash of the whole token; by default not at all.
Rule 3: calls with one token share its questions: those that come while one is under way wait for the next,
since the answer to the present one may be older than they are. Two are never under way for one token.
"""

import asyncio
import hashlib
import time
from collections.abc import Sequence

from bff.errors import ProviderUnavailableError
from bff.oidc.client import OidcClient
from bff.oidc.introspection import TIMEOUT
from bff.settings.model import RouteSettings
from bff.tasks import Tasks
from bff.verify import Claims, RedisRevocations, Revocations
from bff.verify.revocation import Remembered

_REMEMBERED = 10_000  # answers of one source

_Answer = asyncio.Task[bool | ProviderUnavailableError]


class ProviderAnswers:
    """The provider itself, asked by its introspection endpoint (RFC 7662) as the client that we are."""

    def __init__(self, client: OidcClient, fresh: float, tasks: Tasks) -> None:
        self._client = client
        self._tasks = tasks
        self._good = Remembered(fresh, _REMEMBERED)
        self._under_way: dict[str, _Answer] = {}  # by the token's hash
        self._next: dict[str, _Answer] = {}  # that wait for those

    async def is_revoked(self, token: str, claims: Claims) -> bool:
        """Returns True for a token that is not active.

        Raises:
            ProviderUnavailableError: there is no answer; or TimeoutError.
        """
        del claims
        name = hashlib.sha256(token.encode()).hexdigest()
        if self._good.holds(name):
            return False
        async with asyncio.timeout(TIMEOUT):
            active = await asyncio.shield(self._question(name, token))
        if isinstance(active, ProviderUnavailableError):
            raise active
        return not active

    def _question(self, name: str, token: str) -> _Answer:
        """Returns the next question about a token, which nobody has put yet."""
        question = self._next.get(name)
        if question is None:
            before = self._under_way.get(name)
            question = self._tasks.spawn(self._ask(name, token, before), name="introspection")
            self._next[name] = question
        return question

    async def _ask(self, name: str, token: str, before: _Answer | None) -> bool | ProviderUnavailableError:
        if before is not None:
            await asyncio.wait([before])
        question = self._under_way[name] = self._next.pop(name)
        asked = time.monotonic()
        try:
            if self._good.holds(name):
                return True
            active = await self._client.is_active(token)
        except ProviderUnavailableError as failure:
            return failure
        finally:
            if self._under_way.get(name) is question:
                del self._under_way[name]
        if active:
            self._good.add(name, asked)
        return active

    async def close(self) -> None:
        """Does nothing: the connections are the provider's to close."""


def revocations_of(
    route: RouteSettings, client: OidcClient, tasks: Tasks, redis_timeout: float
) -> Sequence[Revocations]:
    """Returns the sources that a route asks; `client` is at the provider whose tokens it takes."""
    found: list[Revocations] = []
    if route.bearer_revocations is not None:
        found.append(
            RedisRevocations(
                route.bearer_revocations.get_secret_value(),
                prefix=route.bearer_revocations_prefix,
                timeout=redis_timeout,
                fresh=route.bearer_fresh,
            )
        )
    if route.bearer_introspection:
        found.append(ProviderAnswers(client, route.bearer_fresh, tasks))
    return found


def rule_of(route: RouteSettings) -> tuple[str, str, bool, float]:
    """Returns the part of a route's settings by which it can share the sources of another one."""
    url = route.bearer_revocations
    return (
        "" if url is None else url.get_secret_value(),
        route.bearer_revocations_prefix,
        route.bearer_introspection,
        route.bearer_fresh,
    )
