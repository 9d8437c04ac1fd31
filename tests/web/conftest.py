"""A provider and a site for each test that asks for them."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.processes.redis import RedisServer
from tests.support.providers.provider import ServedProvider, running_provider
from tests.web.site import Browser, Site, running_site


@pytest.fixture(name="provider")
def _provider() -> Iterator[ServedProvider]:
    with running_provider() as provider:
        yield provider


@pytest.fixture(name="site")
async def _site(redis_server: RedisServer, provider: ServedProvider) -> AsyncIterator[Site]:
    async with running_site(redis_server, provider) as site:
        yield site


@pytest.fixture(name="browser")
async def _browser(site: Site) -> Browser:
    return site.browser()
