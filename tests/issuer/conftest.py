"""An issuer on a real socket with its own Redis, and somebody in front of it."""

from collections.abc import Iterator

import pytest

from tests.issuer.flow import REDIRECT_URI, Person
from tests.support.processes.redis import RedisServer
from tests.support.providers.issuer import RunningIssuer, running_issuer


@pytest.fixture
def issuer(redis_server: RedisServer) -> Iterator[RunningIssuer]:
    after = ("http://localhost:8080/",)
    with running_issuer(redis_server.url, (REDIRECT_URI,), post_logout_redirect_uris=after) as running:
        yield running


@pytest.fixture
def person(issuer: RunningIssuer) -> Iterator[Person]:
    with Person(issuer) as somebody:
        yield somebody
