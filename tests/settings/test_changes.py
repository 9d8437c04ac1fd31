"""The difference between two readings of the settings."""

import re

import pytest

from bff.settings.changes import FIXED, ROLLED, compare, digest, keep_files, way_of
from bff.settings.model import Settings
from tests.structure.source import ROOT
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
    assert ((), (), True) == (found.taken, found.left, found.in_place)


def test_processes_with_the_same_settings_have_the_same_hash() -> None:
    """The keys do not count: a process takes a changed file while it runs, or reads it at its start."""
    assert digest(settings()) == digest(settings(session={"keys": [OTHER, KEY]}))
    assert digest(settings()) == digest(settings(forward_auth={"secrets": [OTHER]}))
    assert digest(settings()) != digest(settings(session={"keys": [KEY], "idle_timeout": "5m"}))


def test_what_can_be_taken_and_what_cannot() -> None:
    """Everything is taken but the settings of the supervisor and of what lives as long as a process."""
    newer = settings(
        server={"public_url": "https://other.example.com", "port": 1, "keep_alive": "5s"},
        session={"keys": [OTHER, KEY], "idle_timeout": "5m"},
        provider={"issuer": "https://id.example.com", "client_id": "spa", "client_secret": "t"},
        log={"level": "debug"},
        redis={"timeout": 3},
    )
    found = compare(settings(), newer)
    taken = (
        "server.keep_alive",
        "session.keys",
        "session.idle_timeout",
        "provider.client_secret",
        "log.level",
    )
    assert taken == found.taken
    assert ("server.public_url", "server.port", "redis.timeout") == found.left
    assert ["roll", "restart", "roll"] == [way_of(name) for name in found.left]
    assert not found.in_place


@pytest.mark.requirement("P-02")
def test_frontends_are_named() -> None:
    """One that was added, changed or removed, wherever it stands; and another order."""
    shop, desk, page = (
        {"name": name, "public_url": f"https://{name}.example.com"} for name in ("shop", "desk", "page")
    )
    former = settings(frontend=[shop, desk])
    found = compare(former, settings(frontend=[page, shop | {"session": {"idle_timeout": "5m"}}]))
    assert ("frontend shop", "frontend desk", "frontend page") == found.taken
    assert ((), False) == (found.left, found.in_place)
    assert ("frontend shop", "frontend desk") == compare(former, settings()).taken
    assert ("frontend shop", "frontend desk") == compare(settings(), former).taken
    assert ("frontend",) == compare(former, settings(frontend=[desk, shop])).taken
    assert compare(former, settings(frontend=[shop, desk], session={"keys": [OTHER, KEY]})).in_place


@pytest.mark.requirement("P-02")
def test_providers_are_known_by_their_names() -> None:
    """One that stays is compared with itself, wherever it stands; its credentials are taken in place."""

    def provider(name: str, **more: str) -> dict[str, str]:
        return {"issuer": "https://x", "client_id": "x", "client_secret": "s", "name": name} | more

    def of(*more: dict[str, str]) -> Settings:
        return settings(**{"[[provider]]": more})

    a, b = provider("a"), provider("b")
    found = compare(of(a, b), of(a, b | {"client_secret": "t"}))
    assert (("provider[2].client_secret",), True) == (found.taken, found.in_place)
    found = compare(of(a, b), of(b | {"client_id": "y"}))
    assert (("provider[1].client_id", "provider a"), False) == (found.taken, found.in_place)
    assert ("provider",) == compare(of(a, b), of(b, a)).taken
    assert ("provider a",) == compare(settings(), of(a)).taken
    newer = settings(
        provider={"issuer": "https://id.example.com", "client_id": "spa", "client_secret": "t"},
        **{"[[provider]]": [a]},
    )
    assert ("provider[0].client_secret", "provider a") == compare(settings(), newer).taken


def test_keys_secrets_and_the_log_are_taken_in_place() -> None:
    """For these alone nothing is built anew."""
    assert compare(settings(), settings(session={"keys": [OTHER, KEY]}, log={"level": "debug"})).in_place


def test_routes_are_named_by_their_paths() -> None:
    """A route that was added, changed or removed is named; so is another order."""
    a, b, c = ({"path": f"/{name}", "upstream": "http://backend:1"} for name in "abc")
    former = settings(route=[a, b])
    assert ("route /a", "route /b", "route /c") == compare(
        former, settings(route=[a | {"html": True}, c])
    ).taken
    assert ("route",) == compare(former, settings(route=[b, a])).taken
    more = {"issuer": "https://other.example.com", "client_id": "x", "client_secret": "s", "name": "other"}
    assert ("provider other",) == compare(settings(), settings(**{"[[provider]]": [more]})).taken


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


def test_the_secret_files_of_each_provider() -> None:
    """They are matched by the provider's name, whatever its place; a new provider's is what its file says."""

    def with_others(**secrets: str) -> Settings:
        others = [
            {
                "name": name,
                "issuer": "https://x",
                "client_id": "x",
                "client_secret": secret,
                "client_secret_file": f"/{name}",
            }
            for name, secret in secrets.items()
        ]
        return settings(**{"[[provider]]": others})

    old = with_others(a="a-old", b="b-old")
    assert with_others(c="c-new", b="b-old") == keep_files(old, with_others(c="c-new", b="b-new"))


def test_the_page_names_what_needs_more_than_a_reload() -> None:
    """The table in `operate/changes.md` has each setting that is not live, in the row of its way."""
    page = (ROOT / ".github" / "docs" / "operate" / "changes.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `server.")]
    rolled, fixed = (set(re.findall(r"`\[?([a-z_.]+)\]?`", row.rpartition("| ")[0])) for row in rows)
    assert (set(ROLLED), set(FIXED)) == (rolled, fixed)
    assert {"roll"} == {way_of(name) for name in rolled}
    assert {"restart"} == {way_of(name) for name in fixed}
