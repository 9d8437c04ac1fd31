"""Sessions in a real Redis, written by the product's own code, for the commands that look at them."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from unittest import mock

from typer.testing import CliRunner

from bff.cli.sessions import access
from bff.cli.sessions.app import app
from bff.crypto import Keyring
from bff.observe.metrics import Metrics
from bff.session.model import Session, Tokens
from bff.session.session_builder import Identity
from bff.session.session_cookie import SessionCookie
from bff.session.sessions import Sessions
from bff.session.store import SessionStore
from bff.settings.model import ServerSettings, SessionSettings
from tests.support.processes.command import variables_for
from tests.support.processes.redis import RedisServer
from tests.support.settings import KEY, redis_settings

SECRETS = ("an-access-token", "a-refresh-token", "an-id-token")


@dataclass(frozen=True)
class SignIn:
    """One that is to be there."""

    sub: str
    email: str | None = None
    ago: float = 0.0
    sid: str | None = None
    provider: str = "main"
    frontend: str = ""
    user_agent: str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def sign_in(server: RedisServer, people: Sequence[SignIn], **settings: Any) -> list[Session]:
    """Signs these people in, as the proxy would have done it."""

    async def start() -> list[Session]:
        moment = [0.0]
        store = SessionStore(redis_settings(server.url), Metrics())
        session = SessionSettings.model_validate({"max_lifetime": "7d", "idle_timeout": "6d"} | settings)
        at = {
            frontend: Sessions(
                store=store,
                keyring=Keyring([KEY]),
                cookie=SessionCookie.configured(ServerSettings(public_url="http://localhost"), session),
                settings=session,
                metrics=Metrics(),
                clock=lambda: moment[0],
                frontend=frontend,
            )
            for frontend in {person.frontend for person in people}
        }
        tokens = Tokens(SECRETS[0], time.time(), None, SECRETS[1], None, SECRETS[2])
        made = []
        for person in people:
            moment[0] = time.time() - person.ago
            claims = {"sub": person.sub} | ({} if person.email is None else {"email": person.email})
            identity = Identity(person.provider, person.sub, person.sid, person.sub.title(), claims)
            seen_as = {"user_agent": person.user_agent, "address": "192.0.2.7"}
            found = await at[person.frontend].start(identity, tokens, **seen_as)
            made.append(found.session)
        await store.aclose()
        return made

    return asyncio.run(start())


@dataclass(frozen=True)
class Done:
    """What a command came to."""

    returncode: int
    stdout: str
    stderr: str


def sessions(server: RedisServer, *arguments: str, **more: str) -> Done:
    """Runs `bff sessions` in this process, a second faster than in one of its own, at the priority it has."""
    with mock.patch.object(access, "give_way"):
        result = CliRunner().invoke(
            app, list(arguments), env=environ(server, **more), prog_name="bff sessions"
        )
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return Done(result.exit_code, result.stdout, result.stderr)


def environ(server: RedisServer, **more: str) -> dict[str, str]:
    """The settings of a command that looks at them."""
    return variables_for("http://127.0.0.1:1", server.url, **more)
