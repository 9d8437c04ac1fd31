"""The cost of verifying an access token: for the first time, and one already known."""

import asyncio
import statistics
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import uvloop
from joserfc import jwt
from joserfc.jwk import ECKey

from bff.verify import RedisRevocations, TokenVerifier
from tests.support.keys import rsa_key
from tests.tools.bench.contenders.ours import Ours
from tests.tools.bench.environment import Ground
from tests.tools.bench.figures import Finding
from tests.tools.bench.machine import on
from tests.tools.bench.scenarios.base import Scale, Scenario, Tell

_ISSUER, _AUDIENCE = "https://id.example.com", "orders-api"
_REPEATS = 7
_LOOP = 0.15
"""Seconds that one repetition takes."""
_CROWD = 32
_TOKENS = 512
_KEYS: Mapping[str, Any] = {
    "ES256": ECKey.generate_key("P-256", {"kid": "ES256"}),
    "RS256": rsa_key({"kid": "RS256"}),
}

Step = Callable[[str], Coroutine[Any, Any, object]]


class Verification(Scenario):
    """The verifier in one process; its revocations in the ground's Redis, on another core."""

    name = "verify"
    what = "one access token verified, in microseconds of one core"
    ours: Sequence[Ours] = ()

    def run(self, ground: Ground, scale: Scale, tell: Tell) -> list[Finding]:
        del scale
        tell("verifying access tokens")
        with on(ground.cores.contender), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return [
                Finding(self.name, what, f"{cost:.1f} µs")
                for what, cost in runner.run(_costs(ground.redis.url)).items()
            ]


async def _costs(redis_url: str) -> dict[str, float]:
    costs: dict[str, float] = {}
    by_algorithm = {name: [_token(name, number) for number in range(_TOKENS)] for name in _KEYS}
    async with _verifier(remembered=0) as fresh:
        for algorithm, signed in by_algorithm.items():
            costs[f"{algorithm}, never seen before"] = await _median(fresh.verify, signed)
    tokens = by_algorithm["ES256"]
    async with _verifier(remembered=_TOKENS) as known:
        costs["seen before"] = await _median(known.verify, tokens)
    each_time, what = RedisRevocations(redis_url), "seen before, Redis asked for revocations"
    async with _verifier(remembered=_TOKENS, revocations=[each_time]) as asking:
        costs[what] = await _median(asking.verify, tokens)
        costs[f"{what}, {_CROWD} at once"] = await _median(asking.verify, tokens, at_once=_CROWD)
    at_times = RedisRevocations(redis_url, fresh=1.0)
    async with _verifier(remembered=_TOKENS, revocations=[at_times]) as seldom:
        costs[f"{what} once in a second"] = await _median(seldom.verify, tokens)
    return costs


def _verifier(**options: Any) -> TokenVerifier:
    async def fetch(url: str) -> Mapping[str, Any]:
        del url
        return {"keys": [key.as_dict(private=False) for key in _KEYS.values()]}

    return TokenVerifier(issuer=_ISSUER, audience=_AUDIENCE, jwks_uri="here", fetch=fetch, **options)


def _token(algorithm: str, number: int) -> str:
    now = int(time.time())
    claims = {
        "iss": _ISSUER,
        "aud": _AUDIENCE,
        "sub": "alice",
        "sid": "the-sign-in",
        "client_id": "spa-bff",
        "jti": f"token-{number}",
        "iat": now,
        "exp": now + 900,
        "scope": "openid orders",
        "role": "admin",
        "tid": "acme",
    }
    header = {"alg": algorithm, "kid": algorithm, "typ": "at+jwt"}
    return jwt.encode(header, claims, _KEYS[algorithm], [algorithm])


async def _median(step: Step, tokens: Sequence[str], at_once: int = 1) -> float:
    """Microseconds for one token, by the median of the repetitions."""
    for token in tokens:
        await step(token)
    found = []
    for _ in range(_REPEATS):
        count, started = 0, time.perf_counter()
        while time.perf_counter() - started < _LOOP:
            if at_once == 1:
                await step(tokens[count % len(tokens)])
            else:
                await asyncio.gather(*(step(tokens[(count + each) % len(tokens)]) for each in range(at_once)))
            count += at_once
        found.append((time.perf_counter() - started) / count * 1e6)
    return statistics.median(found)
