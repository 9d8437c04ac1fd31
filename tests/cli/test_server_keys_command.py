"""`bff keys rotate` and `bff keys list`."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bff.crypto import key_id
from bff.settings.server_keys import SPREAD, parse_key
from tests.support.processes.command import bff, variables_for
from tests.support.settings import KEY, secret

pytestmark = pytest.mark.requirement("S-09")


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return secret(str(tmp_path / "keys"), f"# of the shop\n{KEY}\n", mode=0o640)


@pytest.fixture
def environ(keys: Path) -> dict[str, str]:
    own = variables_for("https://id.example.com", "redis://127.0.0.1:1/0") | {
        "BFF_SESSION__KEYS_FILE": str(keys),
        "BFF_SESSION__MAX_LIFETIME": "2h",
        "BFF_SESSION__IDLE_TIMEOUT": "1h",
    }
    del own["BFF_SESSION__KEYS"]
    return own


def listed(environ: dict[str, str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(bff("keys", "list", "--json", environ=environ).stdout)
    return found


def test_a_rotation(keys: Path, environ: dict[str, str]) -> None:
    """The new key stands first and signs; the former one says until when it is needed; no key is shown."""
    done = bff("keys", "rotate", environ=environ)
    assert 0 == done.returncode, done.stderr
    note, first, second = keys.read_text().splitlines()
    new, former = parse_key(first), parse_key(second)
    assert ("# of the shop", KEY, None) == (note, former.secret, new.signs)
    assert new.made is not None
    assert former.until == new.made + 2 * 3600 + SPREAD
    assert 0o640 == stat.S_IMODE(keys.stat().st_mode)
    assert [keys] == list(keys.parent.iterdir())
    shown = [(key["id"], key["state"]) for key in listed(environ)]
    assert [(key_id(new.secret), "signs"), (key_id(KEY), "verifies")] == shown
    for text in (done.stdout, done.stderr, bff("keys", "list", environ=environ).stdout):
        assert new.secret not in text
        assert KEY not in text
    assert key_id(KEY) in done.stdout
    assert "within 5 s" in done.stderr


def test_a_lead(keys: Path, environ: dict[str, str]) -> None:
    """The new key waits; another rotation is refused until it signs."""
    assert 0 == bff("keys", "rotate", "--lead", "10m", environ=environ).returncode
    assert ["will sign", "signs"] == [key["state"] for key in listed(environ)]
    before = keys.read_text()
    done = bff("keys", "rotate", environ=environ)
    assert 1 == done.returncode
    assert "will sign from" in done.stderr
    assert before == keys.read_text()


def test_a_leak(keys: Path, environ: dict[str, str]) -> None:
    """It asks first; then no former key is left."""
    assert 0 != bff("keys", "rotate", "--leaked", environ=environ).returncode
    assert KEY in keys.read_text()
    assert 0 == bff("keys", "rotate", "--leaked", "--yes", environ=environ).returncode
    assert KEY not in keys.read_text()
    assert ["signs"] == [key["state"] for key in listed(environ)]


def test_print(keys: Path, environ: dict[str, str]) -> None:
    """The new file goes to standard output, for a Secret; the old one stays as it is."""
    before = keys.read_text()
    done = bff("keys", "rotate", "--print", environ=environ)
    assert before == keys.read_text()
    assert KEY == parse_key(done.stdout.splitlines()[2]).secret


def test_a_link_stays_a_link(keys: Path, environ: dict[str, str], tmp_path: Path) -> None:
    """What it leads to is replaced."""
    link = tmp_path / "link"
    link.symlink_to(keys)
    assert 0 == bff("keys", "rotate", environ=environ | {"BFF_SESSION__KEYS_FILE": str(link)}).returncode
    assert link.is_symlink()
    assert 3 == len(keys.read_text().splitlines())


def test_a_file_that_cannot_be_replaced(environ: dict[str, str], tmp_path: Path) -> None:
    """The former keys stay, nothing is left behind, and --print is the way, as for a mounted Secret."""
    keys = secret(str(tmp_path / ("k" * 250)), KEY)  # no longer name fits beside it
    done = bff("keys", "rotate", environ=environ | {"BFF_SESSION__KEYS_FILE": str(keys)})
    assert 1 == done.returncode
    assert "--print" in done.stderr
    assert KEY == keys.read_text()
    assert {"keys", keys.name} == {path.name for path in tmp_path.iterdir()}


def test_keys_without_a_file(environ: dict[str, str]) -> None:
    """Keys in the environment change with a restart, which is said."""
    del environ["BFF_SESSION__KEYS_FILE"]
    done = bff("keys", "rotate", environ=environ | {"BFF_SESSION__KEYS": KEY})
    assert (2, "") == (done.returncode, done.stdout)
    assert "session.keys_file is not set" in done.stderr


def test_two_rotations_at_once(keys: Path, environ: dict[str, str]) -> None:
    """One comes after the other: no key is lost."""
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: bff("keys", "rotate", environ=environ), range(4)))
    assert [0] * 4 == [each.returncode for each in done], done
    assert 5 == len({parse_key(line).secret for line in keys.read_text().splitlines()[1:]})
