"""The settings of a running proxy: which changes are put in force, and where.

Rule 1: a change of a file is put in force by itself; other changes of the settings' own file at a signal, as
far as they can be taken (`bff.settings.changes`). The rest waits for a restart, and is named.
Rule 2: a refusal changes nothing, neither of a bad file nor of bad settings.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from pydantic import SecretStr

from bff.observe.metrics import Metrics
from bff.oidc.client import OidcClient
from bff.proxy.upstream.pool import Pools
from bff.session.live_keys import LiveKeys
from bff.session.redis_connection import Renewal
from bff.settings.changes import compare
from bff.settings.model import Settings
from bff.settings.reload import Reloader
from bff.settings.watched_files import WatchedFiles
from bff.tasks import Tasks

_CREDENTIALS = frozenset(
    f"provider.{name}{suffix}" for name in ("client_secret", "client_key") for suffix in ("", "_file")
)


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The outcome of a reload: the settings in force, and the names of those that changed, or could not."""

    settings: Settings
    changed: tuple[str, ...]
    refused: tuple[str, ...]
    left: tuple[str, ...]


class LiveSettings:
    """The settings in force. `take_forward_auth` is called with changed secrets of reverse proxies.

    Args:
        files: watches their files; it has begun before the parts were made.
        keys: follows the server keys.
        client: follows the client's secret or key, and the provider's certificates.
        pools: follows the backends' certificates.
        redis: follows those of Redis.
        metrics: where changes are counted.
    """

    def __init__(
        self,
        files: WatchedFiles,
        *,
        keys: LiveKeys,
        client: OidcClient,
        pools: Pools,
        redis: Renewal,
        metrics: Metrics,
    ) -> None:
        self._keys = keys
        self._client = client
        self._pools = pools
        self._redis = redis
        self._tasks = Tasks()
        self.take_forward_auth: Callable[[Sequence[SecretStr]], None] = lambda _: None
        self._reloader = Reloader(files, self._put_in_force, metrics)
        keys.keyring.ask = lambda: self._reloader.look_now("session.keys_file")
        client.ask_for_newer(self._ask_for_credentials)

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._reloader.settings

    def start(self) -> None:
        """Begins to watch the files, and the clock for the server keys."""
        self._reloader.start(self._tasks, self.settings.server.reload_interval, self._keys.turn)

    async def aclose(self) -> None:
        """Stops watching."""
        await self._tasks.cancel_all()

    async def reload(self, newer: Settings | None = None) -> Reloaded:
        """Puts in force the newer settings that can change now, then changes of their files."""
        changed: tuple[str, ...] = ()
        left: tuple[str, ...] = ()
        if newer is not None:
            changes = compare(self.settings, newer)
            changed, left = changes.taken, changes.left
            if changed:
                self._reloader.take(changes.settings, changed)
        taken = await self._reloader.look_settled()
        refused = tuple(problem.key for problem in taken.refused)
        both = tuple(dict.fromkeys((*changed, *taken.changed)))
        return Reloaded(self.settings, both, refused, left)

    def _ask_for_credentials(self) -> bool:
        secret = self._reloader.look_now("provider.client_secret_file")
        return self._reloader.look_now("provider.client_key_file") or secret

    def _put_in_force(self, settings: Settings, changed: Collection[str]) -> None:
        names = set(changed)
        if names & {"session.keys", "session.keys_file"}:
            self._keys.take(settings.session.keys)
        if names & _CREDENTIALS:
            self._client.authenticate_by(settings.provider)
        if names & {"provider.ca_file", "provider.client_cert_file"}:
            self._client.trust(settings.provider)
        if names & {"forward_auth.secrets", "forward_auth.secrets_file"}:
            self.take_forward_auth(settings.forward_auth.secrets)
        if "redis.url" in names:
            self._redis.changed(None)
        numbers = {int(name[6:].partition("]")[0]) for name in names if name.startswith("route[")}
        if numbers:
            self._pools.renew([settings.route[number] for number in sorted(numbers)])
