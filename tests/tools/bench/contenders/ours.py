"""The real `bff serve`, a real Redis, a session from a real sign-in; log, metrics and tracing on."""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from bff.crypto import new_secret
from bff.demo.plan import Service
from bff.demo.run import is_ready
from bff.settings.model import SessionSettings
from tests.support.processes.world import SESSION_NAMES
from tests.tools.bench.contenders.base import Contender
from tests.tools.bench.environment import Ground, cookies_of_sign_in
from tests.tools.bench.programs import lasting_port, python_environment, start
from tests.tools.bench.sessions import store_copies
from tests.tools.bench.uses import spread_uses


class Ours(Contender):
    """One worker of the proxy.

    Args:
        name: see `Contender`.
        near_cache: the setting of this name.
        huge_pages: the setting of this name.
        routes: routes beside `/api`, as the settings have them.
        redis_url: another Redis than the one of all.
        keys: server keys; those who are to share sessions share these.
        public_port: the port that browsers are told; else its own.
        more: variables of its environment.
    """

    _places: Sequence[str] = ("",)  # the names of its frontends

    def __init__(
        self,
        name: str,
        *,
        near_cache: bool = True,
        huge_pages: bool = True,
        routes: Sequence[Mapping[str, Any]] = (),
        redis_url: str | None = None,
        keys: str | None = None,
        public_port: int | None = None,
        more: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.what = f"bff serve, one worker, near cache {'on' if near_cache else 'off'}"
        if not huge_pages:
            self.what += ", memory in pages of 4 KiB"
        self.public_port = public_port or self.port
        self.ops_port = lasting_port()
        self.keys = keys or new_secret()
        self._near_cache, self._huge_pages = near_cache, huge_pages
        self._more = more or {}
        self._routes, self.redis_url = routes, redis_url

    @property
    def redirect_uri(self) -> str:
        return f"http://localhost:{self.public_port}/bff/callback"

    def start(self, ground: Ground) -> None:
        service = Service(
            self.name,
            (sys.executable, "-m", "bff", "serve"),
            python_environment(os.environ, **self._environment(ground)),
            self.ops_port,
            "/readyz",
        )
        self.program = ground.keep(
            start(
                self.name,
                service.command,
                folder=ground.folder,
                cores=ground.cores.contender,
                ready=lambda: is_ready(service),
                environment=service.environment,
            )
        )

    def sign_in(self) -> dict[str, str]:
        cookies = cookies_of_sign_in(self.port, "/bff/login?return_to=/").split("; ")
        # What the sign-in itself leaves in the browser is gone after ten minutes.
        session = [cookie for cookie in cookies if cookie.partition("=")[0] in SESSION_NAMES]
        return {"Cookie": "; ".join(session)}

    def users(self, ground: Ground, count: int) -> list[dict[str, str]]:
        """This number of users, each with a session of its own."""
        return [{"Cookie": cookie} for cookie in self._cookies(ground, count)]

    def spread_uses(self, ground: Ground, count: int) -> None:
        """Spreads the moments at which the users were seen over the interval in which that is noted once."""
        spread_uses(
            [user["Cookie"] for user in self.users_at_hand(ground, count)],
            self.keys,
            self.redis_url or ground.redis.url,
            now=time.time(),
            interval=SessionSettings().slide_interval,
            frontends=self._places,
        )

    def _cookies(self, ground: Ground, count: int, frontends: Sequence[str] = ("",)) -> list[str]:
        url = self.redis_url or ground.redis.url
        port = (
            ground.redis.port
            if self.redis_url is None
            else int(url.partition("//")[2].split(":")[1].split("/")[0])
        )
        return store_copies(self.sign_in()["Cookie"], self.keys, port, url, count, frontends=frontends)

    def browser(self) -> dict[str, str]:
        origin = f"http://localhost:{self.public_port}"
        return {**super().browser(), "Host": f"localhost:{self.public_port}", "Origin": origin}

    def headers(self) -> dict[str, str]:
        return {**super().headers(), "Host": f"localhost:{self.public_port}"}

    def _environment(self, ground: Ground) -> dict[str, str]:
        api = {"path": "/api", "upstream": ground.backend_url, "strip_prefix": False, "max_connections": 512}
        return {
            "BFF_SERVER__PUBLIC_URL": f"http://localhost:{self.public_port}",
            "BFF_SERVER__PORT": str(self.port),
            "BFF_SERVER__OPS_PORT": str(self.ops_port),
            "BFF_SERVER__TRUSTED_PROXIES": '["127.0.0.1"]',
            "BFF_REDIS__URL": self.redis_url or ground.redis.url,
            "BFF_SESSION__KEYS": self.keys,
            "BFF_PROVIDER__ISSUER": ground.issuer.url,
            "BFF_PROVIDER__CLIENT_ID": ground.issuer.client_id,
            "BFF_PROVIDER__SCOPES": "openid,profile,offline_access",
            "BFF_PROVIDER__CLIENT_SECRET": ground.issuer.client_secret,
            "BFF_LIMITS__LOGIN_PER_MINUTE": "1000",
            "BFF_LIMITS__CALLBACK_PER_MINUTE": "1000",
            "BFF_LIMITS__ADDRESS_PER_MINUTE": "10000",
            "BFF_LIMITS__CALLS_PER_SESSION": "100000",
            "BFF_LIMITS__STREAMS_PER_SESSION": "100000",
            "BFF_LIMITS__STREAMS_PER_ADDRESS": "100000",
            "BFF_LOG__FORMAT": "json",
            "BFF_ROUTE": json.dumps([*self._routes, api]),
            "BFF_SESSION__NEAR_CACHE": str(self._near_cache).lower(),
            "BFF_SERVER__HUGE_PAGES": str(self._huge_pages).lower(),
            **self._more,
        }
