"""The settings of a running proxy: which changes are put in force, and where.

Rule 1: a file that the settings name is put in force by itself, the settings' own file as a whole.
Rule 2: a refusal changes nothing: of a bad file, of bad settings, of settings with a change that needs a
restart (`bff.settings.changes`), of a frontend that cannot be built.
Rule 3: settings are prepared first, and taken by a step that cannot fail: so all workers take them, or none.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass

from bff.frontends import Frontends, building
from bff.observe.logs import name_each
from bff.observe.metrics import Metrics
from bff.settings.changes import CREDENTIALS, NEEDS_RESTART, Changes, compare, digest, keep_files
from bff.settings.file_reloader import Reloader
from bff.settings.frontends import frontends_of
from bff.settings.model import Settings
from bff.settings.provider_sections import provider_section
from bff.settings.watched_files import WatchedFiles, routes_by_name
from bff.shared_parts import SharedParts
from bff.tasks import Tasks

_CERTIFICATES = frozenset({"ca_file", "client_cert_file", "client_cert_key_file"})
_SECRETS = CREDENTIALS - _CERTIFICATES


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The outcome of a reload: the settings in force, and the names of those that changed, or could not."""

    settings: Settings
    changed: tuple[str, ...]
    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """Newer settings that can be taken.

    Attributes:
        asked: those that were asked for.
        settings: the same with what is in force of the secret files.
        frontends: None where those in force stay.
    """

    asked: Settings
    settings: Settings
    changes: Changes
    frontends: Frontends | None


class NotTakenError(Exception):
    """Newer settings cannot be taken: the message says why. `left` are those that need a restart."""

    def __init__(self, message: str, left: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.left = left


def note_in_force(settings: Settings, metrics: Metrics) -> None:
    """Shows in metrics which settings are in force, and has lines name what there are several of."""
    metrics.settings_taken(digest(settings))
    metrics.name_providers([each.name for each in settings.providers()])
    name_each(frontends=len(frontends_of(settings)) > 1, providers=bool(settings.more_providers))


class LiveSettings:
    """The settings in force.

    Args:
        files: watches their files; it has begun before the parts were made.
        shared: the parts that follow changes without being replaced.
        frontends: those in force.
        put: puts others in force.
    """

    def __init__(
        self,
        files: WatchedFiles,
        shared: SharedParts,
        frontends: Frontends,
        put: Callable[[Frontends], None],
    ) -> None:
        self._shared = shared
        self._frontends = frontends
        self._put = put
        self._prepared: Prepared | None = None
        self._turn = 0  # of what is being prepared
        self._tasks = Tasks()
        self._reloader = Reloader(files, self._put_in_force, shared.metrics)
        shared.keys.keyring.ask = lambda: self._reloader.look_now("session.keys_file")
        shared.clients.ask = self._ask_for_credentials

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

    async def prepare(self, newer: Settings) -> Prepared:
        """Builds all that newer settings ask for, and puts nothing of it in force.

        Requests have their turn behind each frontend.

        Raises:
            NotTakenError: they cannot be taken, or were dropped meanwhile.
        """
        self.drop()
        turn = self._turn
        kept = keep_files(self.settings, newer)
        changes = compare(self.settings, kept)
        if changes.left:
            raise NotTakenError(NEEDS_RESTART, changes.left)
        frontends = None
        try:
            if not _CERTIFICATES.isdisjoint(name.rpartition(".")[2] for name in changes.taken):
                self._shared.clients.try_certificates(kept.providers())
            if not changes.in_place:
                frontends = await self._built(kept, turn)
        except (OSError, ValueError) as error:  # a file that has changed since the check
            self.drop()
            raise NotTakenError(f"cannot be built: {error}") from error
        self._prepared = Prepared(newer, kept, changes, frontends)
        return self._prepared

    async def _built(self, settings: Settings, turn: int) -> Frontends:
        steps = building(settings, self._shared, self._frontends)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                built: Frontends = done.value
                return built
            await asyncio.sleep(0)
            if turn != self._turn:
                self._release()
                raise NotTakenError("were dropped")

    def drop(self) -> None:
        """Forgets what was prepared and not taken, and stops what is being prepared."""
        self._turn += 1
        self._prepared = None
        self._release()

    def _release(self) -> None:
        self._shared.pools.retain(self._frontends.pools())
        self._shared.retain_clients(each.providers for each in self._frontends.every)

    async def _take(self, newer: Settings) -> tuple[str, ...]:
        prepared = self._prepared
        while prepared is None or not self._is_current(prepared, newer):
            prepared = await self.prepare(newer)
        self._prepared = None
        if prepared.changes.taken:
            self._reloader.take(prepared.settings, prepared.changes.taken)
            note_in_force(prepared.settings, self._shared.metrics)
        if prepared.frontends is not None:
            self._shared.wait_for_limits(newer.limits.timeout)
            self._put(prepared.frontends)
            self._frontends = prepared.frontends
        return prepared.changes.taken

    def _is_current(self, prepared: Prepared, newer: Settings) -> bool:
        """Returns False for what was prepared for others, or before a secret's file has changed."""
        return prepared.asked == newer and prepared.settings == keep_files(self.settings, newer)

    async def reload(
        self, newer: Settings | None = None, taken: Callable[[Settings], None] = lambda _: None
    ) -> Reloaded:
        """Puts newer settings in force, then changes of their files.

        `taken` is called in the moment in which newer ones are in force.

        Raises:
            NotTakenError: the newer settings cannot be taken; nothing has changed.
        """
        changed: tuple[str, ...] = ()
        if newer is not None and (changed := await self._take(newer)):
            taken(self.settings)
        looked = await self._reloader.look_settled()
        refused = tuple(problem.key for problem in looked.refused)
        both = tuple(dict.fromkeys((*changed, *looked.changed)))
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
            at = provider_section(settings, number)
            differ = {name.removeprefix(f"{at}.") for name in names}
            for client in self._shared.clients.named(provider.name):
                if differ & _SECRETS:
                    client.authenticate_by(provider)
                if differ & _CERTIFICATES:
                    client.trust(provider)
        if names & {"forward_auth.secrets", "forward_auth.secrets_file"}:
            for each in self._frontends.every:
                each.forward_auth.take(settings.forward_auth.secrets)
        if "redis.url" in names:
            self._shared.store.renewal.changed(None)
        changed_at = {name.rpartition(".")[0] for name in names if "route[" in name}
        if changed_at:
            renewed = [route for at, route in routes_by_name(settings) if at in changed_at]
            self._shared.pools.renew(renewed)
