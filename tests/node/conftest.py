"""The certified provider, once for all tests of a process."""

from collections.abc import Iterator

import pytest

from tests.node.certified import Certified, certified_provider


@pytest.fixture(scope="session", name="certified")
def _certified() -> Iterator[Certified]:
    with certified_provider() as certified:
        yield certified
