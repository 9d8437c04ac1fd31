"""Ours with many frontends: what it costs to find the one of a request, and to keep their sessions apart."""

import json
from itertools import cycle

from tests.tools.bench.contenders.ours import Ours
from tests.tools.bench.environment import Ground


class SeveralFrontends(Ours):
    """One worker of so many frontends, one without a name among them; users of all of them call in turn."""

    def __init__(self, name: str, count: int) -> None:
        super().__init__(name)
        self.what = f"bff with {count} frontends, each at a host of its own"
        self._places = ["", *(f"f{number}" for number in range(1, count))]

    def users(self, ground: Ground, count: int) -> list[dict[str, str]]:
        cookies = self._cookies(ground, count, self._places)
        hosts = cycle([self._host(place) for place in self._places])
        return [
            {"Cookie": cookie, "Host": host, "Origin": f"http://{host}"}
            for cookie, host in zip(cookies, hosts, strict=False)
        ]

    def _host(self, place: str) -> str:
        return f"{place}.localhost:{self.public_port}" if place else f"localhost:{self.public_port}"

    def _environment(self, ground: Ground) -> dict[str, str]:
        named = [
            {"name": place, "public_url": f"http://{self._host(place)}"} for place in self._places if place
        ]
        return {**super()._environment(ground), "BFF_FRONTEND": json.dumps(named)}
