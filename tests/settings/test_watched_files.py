"""Files that settings name, looked at again while the proxy runs."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bff.oidc.client_authentication import new_client_key
from bff.settings.load import load
from bff.settings.model import Settings
from bff.settings.watched_files import SETTLE, Taken, WatchedFiles, read, see
from tests.support.network.tls import self_signed
from tests.support.settings import GOOD, KEY, OTHER, secret, write

KEYS_LINE = f'keys = ["{KEY}"]'

pytestmark = pytest.mark.requirement("S-09")


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class Watch:
    """Watched files, and the clocks by which they are looked at."""

    def __init__(self, text: str) -> None:
        self.files = WatchedFiles(load(write(text), {}))
        self.files.begin(see(self.files.paths()))
        self.steady = 0.0
        self.look()

    def look(self, *, later: float = 2 * SETTLE, forced: bool = False) -> Taken:
        """Looks at them so many seconds after now."""
        self.steady += later
        due = self.files.due(
            see(self.files.paths()), wall=time.time() + later, steady=self.steady, forced=forced
        )
        return self.files.take(read(due, self.files.settings), forced=forced)


def keys_of(settings: Settings) -> list[str]:
    return [key.get_secret_value() for key in settings.session.keys]


@pytest.fixture
def keys() -> Path:
    return secret("keys", KEY)


@pytest.fixture
def watch(keys: Path) -> Watch:
    return Watch(GOOD.replace(KEYS_LINE, f'keys_file = "{keys}"'))


def in_place(path: Path, text: str) -> None:
    path.write_text(text)


def by_rename(path: Path, text: str) -> None:
    secret("new", text).rename(path)


@pytest.mark.parametrize("change", [in_place, by_rename])
def test_a_change(watch: Watch, keys: Path, change: Callable[[Path, str], None]) -> None:
    """It is in force at the next look, and told of once."""
    change(keys, f"{OTHER}\n{KEY}\n")
    taken = watch.look()
    assert (("session.keys_file",), ()) == (taken.changed, taken.refused)
    assert [OTHER, KEY] == keys_of(taken.settings)
    assert ((), ()) == (watch.look().changed, watch.look(forced=True).changed)


def test_kubernetes_swaps_a_link(tmp_path: Path) -> None:
    """A Secret's folder is a link to a link: the swap of the inner one is a change of every file in it."""
    for name, text in (("..1", KEY), ("..2", f"{OTHER} {'made=2026-11-28'}\n{KEY}")):
        (tmp_path / name).mkdir()
        secret(f"{name}/keys", text)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "mounted").symlink_to("..data/keys")
    watch = Watch(GOOD.replace(KEYS_LINE, f'keys_file = "{tmp_path}/mounted"'))
    (tmp_path / "..next").symlink_to("..2")
    (tmp_path / "..next").rename(tmp_path / "..data")
    assert ("session.keys_file",) == watch.look().changed
    assert 2 == len(keys_of(watch.files.settings))


def test_a_file_that_is_being_written_waits(watch: Watch, keys: Path) -> None:
    """Half a file may look whole: it is read when nobody has written to it for a while."""
    keys.write_text(f"{OTHER}\n")
    assert () == watch.look(later=SETTLE / 2).changed
    assert watch.files.waiting(see([keys]))
    keys.write_text(f"{OTHER}\n{KEY}\n")
    assert () == watch.look(later=SETTLE / 2).changed
    assert ("session.keys_file",) == watch.look().changed
    assert [OTHER, KEY] == keys_of(watch.files.settings)
    assert not watch.files.waiting(see([keys]))


def test_a_clock_that_is_behind_the_files(watch: Watch, keys: Path) -> None:
    """A file from the future is read once it has stayed the same for as long."""
    keys.write_text(f"{OTHER}\n{KEY}\n")

    def due(steady: float) -> list[str]:
        found = watch.files.due(see([keys]), wall=0.0, steady=steady)
        return [source.setting for source in found]

    assert [] == due(100.0)
    assert ["session.keys_file"] == due(100.0 + SETTLE)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_text(""), "empty"),
        (lambda path: path.write_text(OTHER[:20]), "32 random bytes"),
        (lambda path: path.write_text(f"{KEY}\n{KEY}"), "twice"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "UTF-8"),
        (lambda path: path.chmod(0o602), "may write"),
        (lambda path: path.unlink(), "does not exist"),
        (lambda path: path.write_text("A" * 70_000), "64 KiB"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read"),
        (lambda path: [step(path) for step in (Path.unlink, os.mkfifo)], "no plain file"),
        (lambda path: (path.unlink(), path.symlink_to("/dev/zero")), "no plain file"),
    ],
    ids=["empty", "half", "twice", "binary", "writable", "gone", "long", "folder", "pipe", "device"],
)
def test_a_bad_file_changes_nothing(
    watch: Watch, keys: Path, spoil: Callable[[Path], object], said: str
) -> None:
    """The former values stay in force; it is told of once for each change, and again when somebody asks."""
    before = watch.files.settings
    spoil(keys)
    told = [*watch.look().refused, *watch.look().refused, *watch.look().refused]
    assert 1 == len(told)
    assert before == watch.files.settings
    assert {"session.keys_file"} == watch.files.bad
    (problem,) = watch.look(forced=True).refused
    assert said in problem.message
    assert KEY not in str(problem)
    if keys.is_dir():
        keys.rmdir()
    secret("good", f"{OTHER}\n{KEY}").rename(keys)
    assert ("session.keys_file",) == watch.look().changed
    assert set() == watch.files.bad


def test_each_file_is_judged_by_itself(keys: Path) -> None:
    """A bad secret keeps no good keys from coming into force."""
    hidden = secret("client-secret", "s3cret")
    text = GOOD.replace(KEYS_LINE, f'keys_file = "{keys}"')
    watch = Watch(text.replace('client_secret = "s3cret"', f'client_secret_file = "{hidden}"'))
    keys.write_text(OTHER)
    hidden.write_text("")
    taken = watch.look()
    assert ("session.keys_file",) == taken.changed
    assert ["provider.client_secret_file"] == [problem.key for problem in taken.refused]
    hidden.write_text("newer\n")
    watch.look()
    secret_now = watch.files.settings.provider.client_secret
    assert "newer" == (secret_now and secret_now.get_secret_value())


def test_the_clients_own_key() -> None:
    """The key of private_key_jwt is followed as every secret is; a file without a key changes nothing."""
    former, newer = new_client_key(), new_client_key()
    file = secret("client-key", former)
    own = f'client_auth = "private_key_jwt"\nclient_key_file = "{file}"'
    watch = Watch(GOOD.replace('client_secret = "s3cret"', own))
    file.write_text("no key")
    assert ["provider.client_key"] == [problem.key for problem in watch.look().refused]
    file.write_text(newer)
    assert ("provider.client_key_file",) == watch.look().changed
    key_now = watch.files.settings.provider.client_key
    assert newer.strip() == (key_now and key_now.get_secret_value())


def test_the_files_of_each_provider(tmp_path: Path) -> None:
    """Those of the second are followed, and a bad one of either is named by its number and refused."""
    first, second, made = secret("first", new_client_key()), secret("second", "s3cret"), self_signed(tmp_path)
    provider = '[[provider]]\nname = "{}"\nissuer = "https://{}.example.com"\nclient_id = "spa"\n'
    text = GOOD.partition("[provider]")[0]
    text += provider.format("one", "a") + f'client_auth = "private_key_jwt"\nclient_key_file = "{first}"\n'
    text += provider.format("two", "b") + f'client_secret_file = "{second}"\nca_file = "{made.cert}"\n'
    watch = Watch(text)
    before = watch.files.settings
    first.write_text("no key")
    second.write_text("")
    made.cert.write_text("half")
    refused = [problem.key for problem in watch.look().refused]
    assert ["provider[0].client_key", "provider[1].client_secret_file", "provider[1].ca_file"] == refused
    assert before == watch.files.settings
    second.write_text("newer\n")
    assert ("provider[1].client_secret_file",) == watch.look().changed
    (other,) = watch.files.settings.more_providers
    assert "newer" == (other.client_secret and other.client_secret.get_secret_value())
    assert before.provider == watch.files.settings.provider


def test_the_certificates_of_a_frontends_own_route(tmp_path: Path) -> None:
    """They are followed as those of the shared routes are, and named by their frontend."""
    made = self_signed(tmp_path)
    text = GOOD + '[[frontend]]\nname = "shop"\npublic_url = "https://shop.example.com"\n'
    text += '[[frontend.route]]\npath = "/x"\nupstream = "https://backend"\n' + f'ca_file = "{made.cert}"\n'
    watch = Watch(text)
    good = made.cert.read_bytes()
    made.cert.write_text("half")
    assert ["frontend[0].route[0].ca_file"] == [problem.key for problem in watch.look().refused]
    made.cert.write_bytes(good)
    assert ("frontend[0].route[0].ca_file",) == watch.look().changed


def test_a_certificate_and_its_key_change_as_one(tmp_path: Path) -> None:
    """Half of a pair is refused, and both together are taken."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    former, newer = (self_signed(folder) for folder in folders)
    for path in (former.key, newer.key):
        path.chmod(0o600)
    route = f'[[route]]\npath = "/api"\nupstream = "https://backend:8000"\nca_file = "{former.cert}"\n'
    route += f'client_cert_file = "{former.cert}"\nclient_key_file = "{former.key}"\n'
    own = f'client_cert_file = "{former.cert}"\nclient_cert_key_file = "{former.key}"\n'
    watch = Watch(f"{GOOD}{own}{route}")
    assert () == watch.look().changed
    newer.cert.replace(former.cert)
    taken = watch.look()
    assert ("route[0].ca_file",) == taken.changed
    both = ("provider.client_cert_file", "route[0].client_cert_file")
    assert both == tuple(problem.key for problem in taken.refused)
    newer.key.replace(former.key)
    assert both == watch.look().changed


def test_what_was_read_before_the_watch_began(watch: Watch, keys: Path) -> None:
    """A worker gets its settings from its supervisor: a change between that and its own start is noticed."""
    keys.write_text(f"{OTHER}\n{KEY}\n")
    late = WatchedFiles(watch.files.settings)
    late.begin(see(late.paths()))
    due = late.due(see(late.paths()), wall=time.time() + 2 * SETTLE, steady=0.0)
    assert ("session.keys_file",) == late.take(read(due, late.settings)).changed


def test_the_files_of_redis(tmp_path: Path) -> None:
    """Those that its URL names are watched, and judged, together."""
    made = self_signed(tmp_path)
    made.key.chmod(0o600)
    files = f"ssl_ca_certs={made.cert}&ssl_certfile={made.cert}&ssl_keyfile={made.key}"
    watch = Watch(f'{GOOD}[redis]\nurl = "rediss://:s3cret@redis:6380/0?{files}"\n')
    assert () == watch.look().changed
    made.key.write_text("no key")
    (problem,) = watch.look().refused
    assert "redis.url" == problem.key
    assert "s3cret" not in str(problem)
