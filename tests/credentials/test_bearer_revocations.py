"""The provider's word on clients' own tokens: one question for all that wait, one answer for each token."""

import asyncio
from functools import partial
from typing import Any, cast

import pytest

from bff.credentials.bearer_revocations import ProviderAnswers, revocations_of
from bff.errors import ProviderUnavailableError
from bff.oidc.client import OidcClient
from bff.settings.model import RouteSettings
from bff.tasks import Tasks
from bff.verify import Claims, RedisRevocations
from tests.support.wait import until

pytestmark = pytest.mark.requirement("P-10")
CLAIMS = Claims("alice", "", "app", "the-jti", 0, 0, frozenset(), None, None, {})


class Provider:
    """A provider whose answers a test gives."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: list[asyncio.Future[bool]] = []

    async def is_active(self, token: str) -> bool:
        self.asked.append(token)
        self.answers.append(asyncio.get_running_loop().create_future())
        return await self.answers[-1]

    def was_asked(self, times: int) -> bool:
        return len(self.answers) == times


@pytest.fixture
def provider() -> Provider:
    return Provider()


def answers(provider: Provider, fresh: float = 0.0) -> ProviderAnswers:
    return ProviderAnswers(cast("OidcClient", provider), fresh, Tasks())


async def test_a_list_in_redis_has_the_time_that_redis_has(provider: Provider) -> None:
    """`redis.timeout` counts for the issuer's Redis as well, as it does for ours."""
    told = {"path": "/x", "upstream": "http://b:1", "bearer_revocations": "redis://issuer:6379/0"}
    (found,) = revocations_of(RouteSettings.model_validate(told), cast("OidcClient", provider), Tasks(), 7.0)
    assert isinstance(found, RedisRevocations)
    given = found._redis.connection_pool.connection_kwargs
    assert [7.0, 7.0] == [given["socket_timeout"], given["socket_connect_timeout"]]
    await found.close()


async def test_one_question_for_all_who_wait(provider: Provider) -> None:
    """Who comes while one is under way has the next one's answer: the present one may be older."""
    source, tasks = answers(provider), Tasks()

    def ask(token: str = "a") -> asyncio.Task[bool]:
        return tasks.spawn(source.is_revoked(token, CLAIMS), name="call")

    first = [ask() for _ in range(50)]
    await until(lambda: ["a"] == provider.asked)
    later, other = [ask() for _ in range(50)], ask("b")
    await until(lambda: ["a", "b"] == provider.asked)
    for each in (first[0], later[0]):  # who leaves takes nobody's answer along
        each.cancel()
    provider.answers[0].set_result(True)
    assert {False} == set(await asyncio.gather(*first[1:]))
    await until(lambda: ["a", "b", "a"] == provider.asked)
    provider.answers[2].set_result(False)  # revoked in between
    assert {True} == set(await asyncio.gather(*later[1:]))
    provider.answers[1].set_exception(ProviderUnavailableError("away"))
    with pytest.raises(ProviderUnavailableError):
        await other
    after = ask("b")
    await until(lambda: 4 == len(provider.asked))
    provider.answers[3].set_result(True)
    assert False is await after
    vars_: dict[str, Any] = vars(source)
    assert ({}, {}) == (vars_["_under_way"], vars_["_next"])


async def test_a_belief_is_about_one_token(provider: Provider) -> None:
    """Another token with the same `jti` is asked about: an answer is never another one's."""
    source, tasks = answers(provider, 300.0), Tasks()
    for count, token in enumerate(("a", "b"), start=1):
        asking = tasks.spawn(source.is_revoked(token, CLAIMS), name="call")
        await until(partial(provider.was_asked, count))
        provider.answers[-1].set_result(token == "a")
        assert (token == "b") is await asking
    assert False is await source.is_revoked("a", CLAIMS)
    assert ["a", "b"] == provider.asked
