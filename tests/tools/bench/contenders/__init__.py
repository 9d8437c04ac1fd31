"""The contenders by name."""

from tests.tools.bench.contenders.apache import Apache
from tests.tools.bench.contenders.base import Contender
from tests.tools.bench.contenders.envoy import Envoy
from tests.tools.bench.contenders.ours import Ours
from tests.tools.bench.contenders.plain import Direct, FixedAnswer, Naive, Nginx
from tests.tools.bench.contenders.several import SeveralFrontends
from tests.tools.bench.contenders.traced import Traced

__all__ = ["Contender", "contenders"]


_SMALL_CACHE = {"BFF_SESSION__NEAR_CACHE_MEMORY": "1MiB"}
"""Too little for many users: nearly each call reads its session in Redis, and keeps nothing of it."""


def contenders() -> list[Contender]:
    """All contenders, in the order in which they are told of; nothing is started yet."""
    return [
        Direct(),
        Nginx(),
        FixedAnswer(),
        Ours("bff"),
        Ours("bff-uncached", near_cache=False),
        Ours("bff-small-cache", more=_SMALL_CACHE),
        Ours("bff-small-cache-raw", more={**_SMALL_CACHE, "BFF_SESSION__RECORD_FORMAT": "2"}),
        Ours("bff-small-pages", huge_pages=False),
        SeveralFrontends("bff-100-frontends", 100),
        Traced("bff-traced", share=1.0),
        Traced("bff-sampled", share=0.01),
        Envoy("envoy", oauth2=False),
        Envoy("envoy-oauth2", oauth2=True),
        Apache(),
        Naive(),
    ]
