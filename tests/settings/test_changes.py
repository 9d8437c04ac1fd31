"""The difference between two readings of the settings."""

import pytest

from bff.settings.changes import compare, keep_files
from bff.settings.model import Settings
from tests.support.settings import KEY, OTHER

pytestmark = pytest.mark.requirement("S-09", "S-10")


def settings(**sections: object) -> Settings:
    base: dict[str, object] = {
        "server": {"public_url": "https://app.example.com"},
        "session": {"keys": [KEY]},
        "provider": {"issuer": "https://id.example.com", "client_id": "spa", "client_secret": "s"},
    }
    return Settings.model_validate(base | sections)


def test_nothing() -> None:
    """The same settings, read twice, are no change."""
    old = settings()
    found = compare(old, settings())
    assert (old, (), ()) == (found.settings, found.taken, found.left)


def test_what_can_be_taken_and_what_cannot() -> None:
    """Keys, secrets and the log's level are taken; the rest is named, and stays as it was."""
    newer = settings(
        server={"public_url": "https://app.example.com", "port": 1},
        session={"keys": [OTHER, KEY], "idle_timeout": "5m"},
        provider={"issuer": "https://id.example.com", "client_id": "spa", "client_secret": "t"},
        log={"level": "debug"},
        route=[{"path": "/api", "upstream": "http://backend:1"}],
    )
    found = compare(settings(), newer)
    assert ("session.keys", "provider.client_secret", "log.level") == found.taken
    assert ("server.port", "session.idle_timeout", "route") == found.left
    assert newer.session.keys == found.settings.session.keys
    assert settings().session.idle_timeout == found.settings.session.idle_timeout
    assert "debug" == found.settings.log.level
    assert () == found.settings.route


def test_secret_files_have_a_watch_of_their_own() -> None:
    """What the settings' own file says of a secret counts; what a secret file held just now does not."""
    old = settings(session={"keys": [KEY], "keys_file": "/a"})
    newer = settings(session={"keys": [OTHER], "keys_file": "/a"})
    assert old == keep_files(old, newer)
    for other in (
        settings(session={"keys": [OTHER], "keys_file": "/b"}),
        settings(session={"keys": [OTHER]}),
    ):
        assert other == keep_files(old, other)
