"""The settings of a running proxy: which changes are put in force, and where.

Rule 1: a file that the settings name is put in force by itself, the settings' own file as a whole.
Rule 2: a refusal changes nothing: of a bad file, of bad settings, of settings with a change that needs a
restart (`bff.settings.changes`), of a frontend that cannot be built.
Rule 3: settings are prepared first, and taken by a step that cannot fail: so all workers take them, or none.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from bff.frontend import Frontend, build_frontend
from bff.oidc.client import OidcClient
from bff.settings.changes import NEEDS_RESTART, Changes, compare, digest
from bff.settings.model import Settings
from bff.settings.provider_sections import provider_section
from bff.settings.reload import Reloader
from bff.settings.watched_files import WatchedFiles, routes_by_name
from bff.shared_parts import SharedParts
from bff.tasks import Tasks

_CREDENTIALS = ("client_secret", "client_secret_file", "client_key", "client_key_file")
_CERTIFICATES = ("ca_file", "client_cert_file")


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The outcome of a reload: the settings in force, and the names of those that changed, or could not."""

    settings: Settings
    changed: tuple[str, ...]
    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """Newer settings that can be taken. `frontend` is None where the one in force stays."""

    settings: Settings
    changes: Changes
    frontend: Frontend | None


class NotTakenError(Exception):
    """Newer settings cannot be taken: the message says why. `left` are those that need a restart."""

    def __init__(self, message: str, left: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.left = left


class LiveSettings:
    """The settings in force.

    Args:
        files: watches their files; it has begun before the parts were made.
        shared: the parts that follow changes without being replaced.
        frontends: those in force; of several none is replaced before a restart.
        put: puts another frontend in force.
    """

    def __init__(
        self,
        files: WatchedFiles,
        shared: SharedParts,
        frontends: Sequence[Frontend],
        put: Callable[[Frontend], None],
    ) -> None:
        self._shared = shared
        self._frontend, *self._others = frontends
        self._put = put
        self._prepared: Prepared | None = None
        self._tasks = Tasks()
        self._reloader = Reloader(files, self._put_in_force, shared.metrics)
        shared.keys.keyring.ask = lambda: self._reloader.look_now("session.keys_file")
        for frontend in frontends:
            self._follow(frontend)

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._reloader.settings

    def start(self) -> None:
        """Begins to watch the files, and the clock for the server keys."""
        self._reloader.start(self._tasks, self._shared.keys.turn)

    async def aclose(self) -> None:
        """Stops watching."""
        await self._tasks.cancel_all()

    def prepare(self, newer: Settings) -> Prepared:
        """Builds all that newer settings ask for, and puts nothing of it in force.

        Raises:
            NotTakenError: they cannot be taken.
        """
        self.drop()
        changes = compare(self.settings, newer)
        if changes.left:
            raise NotTakenError(NEEDS_RESTART, changes.left)
        frontend = None
        if not changes.in_place:
            try:
                frontend = build_frontend(newer, self._shared, self._frontend)
            except (OSError, ValueError) as error:  # a file that has changed since the check
                self.drop()
                raise NotTakenError(f"cannot be built: {error}") from error
        self._prepared = Prepared(newer, changes, frontend)
        return self._prepared

    def drop(self) -> None:
        """Forgets what was prepared and not taken."""
        self._prepared = None
        self._shared.pools.retain(set().union(*(each.pools() for each in self._all())))

    def _take(self, newer: Settings) -> tuple[str, ...]:
        prepared = self._prepared
        if prepared is None or prepared.settings != newer:
            prepared = self.prepare(newer)
        self._prepared = None
        if prepared.changes.taken:
            self._reloader.take(newer, prepared.changes.taken)
            self._shared.metrics.settings_taken(digest(newer))
        if prepared.frontend is not None:
            self._shared.limits_of("").timeout = newer.limits.timeout
            self._put(prepared.frontend)
            self._frontend = prepared.frontend
            self._follow(prepared.frontend)
        return prepared.changes.taken

    def _all(self) -> list[Frontend]:
        return [self._frontend, *self._others]

    def _same(self, name: str) -> list[OidcClient]:
        """The clients of one provider in all frontends."""
        found = (each.providers.get(name) for each in self._all())
        return [client for client in found if client is not None]

    def _follow(self, frontend: Frontend) -> None:
        for client in frontend.providers:
            client.ask_for_newer(partial(self._ask_for_credentials, client.settings.name))

    async def reload(self, newer: Settings | None = None) -> Reloaded:
        """Puts newer settings in force, then changes of their files.

        Raises:
            NotTakenError: the newer settings cannot be taken; nothing has changed.
        """
        changed = () if newer is None else self._take(newer)
        taken = await self._reloader.look_settled()
        refused = tuple(problem.key for problem in taken.refused)
        both = tuple(dict.fromkeys((*changed, *taken.changed)))
        return Reloaded(self.settings, both, refused)

    def _ask_for_credentials(self, name: str) -> bool:
        settings = self.settings
        numbers = (number for number, each in enumerate(settings.providers()) if each.name == name)
        if (number := next(numbers, None)) is None:  # a former provider's last calls
            return False
        at = provider_section(settings, number)
        secret = self._reloader.look_now(f"{at}.client_secret_file")
        return self._reloader.look_now(f"{at}.client_key_file") or secret

    def _put_in_force(self, settings: Settings, changed: Collection[str]) -> None:
        names = set(changed)
        if names & {"session.keys", "session.keys_file"}:
            self._shared.keys.take(settings.session.keys)
        for number, provider in enumerate(settings.providers()):
            # `compare` names the first one without a number.
            sections = {provider_section(settings, number), *(("provider",) if number == 0 else ())}
            if names & {f"{at}.{name}" for at in sections for name in _CREDENTIALS}:
                for client in self._same(provider.name):
                    client.authenticate_by(provider)
            if names & {f"{at}.{name}" for at in sections for name in _CERTIFICATES}:
                for client in self._same(provider.name):
                    client.trust(provider)
        if names & {"forward_auth.secrets", "forward_auth.secrets_file"}:
            for each in self._all():
                each.forward_auth.take(settings.forward_auth.secrets)
        if "redis.url" in names:
            self._shared.store.renewal.changed(None)
        changed_at = {name.rpartition(".")[0] for name in names if "route[" in name}
        if changed_at:
            renewed = [route for at, route in routes_by_name(settings) if at in changed_at]
            self._shared.pools.renew(renewed)
