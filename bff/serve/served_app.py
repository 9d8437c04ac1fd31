"""The application that a worker serves, as far as the worker knows it."""

import gc
from collections.abc import Callable, Sequence
from typing import Protocol

from starlette.types import Receive, Scope, Send

from bff.live_settings import Reloaded
from bff.observe.metrics import Metrics
from bff.serve.ops_port import CheckResult
from bff.settings.model import Settings


class ServedApp(Protocol):
    """The application that a worker serves."""

    @property
    def metrics(self) -> Metrics:
        """The metrics of this process."""
        ...

    async def readiness(self) -> Sequence[CheckResult]:
        """True while requests may come here."""
        ...

    async def reload(
        self, newer: Settings | None = None, taken: Callable[[Settings], None] = lambda _: None
    ) -> Reloaded:
        """Puts newer settings in force, and changes of the files that they name; raises `NotTakenError`.

        `taken` is called in the moment in which newer ones are in force.
        """
        ...

    async def prepare(self, newer: Settings) -> None:
        """Builds what newer settings ask for, for the `reload` that follows; raises `NotTakenError`."""
        ...

    def drop(self) -> None:
        """Forgets what was prepared."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        ...


MakeApp = Callable[[Settings], ServedApp]
"""Builds the application, by the settings of its process."""


def built(make_app: MakeApp, settings: Settings) -> ServedApp:
    """Builds the application.

    The objects that are there before are the program itself, and stay: the garbage collector visits them no
    more. What is built of settings it visits, since other settings replace it.
    """
    gc.collect()
    gc.freeze()
    return make_app(settings)
