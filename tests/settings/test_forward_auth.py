"""The settings of forward-auth."""

from pathlib import Path

import pytest

from bff.settings.forward_auth_check import check_forward_auth
from bff.settings.load import load
from bff.settings.model import ForwardAuthSettings
from bff.settings.watched_files import WatchedFiles, read
from tests.support.settings import KEY, secret

GOOD = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"


def complaints(**settings: object) -> list[str]:
    found = check_forward_auth(ForwardAuthSettings.model_validate(settings))
    return [f"{finding.key} {finding.message}" for finding in found]


@pytest.mark.parametrize("host", ["bff:8080", "bff", "10.0.0.7:8080", "[::1]:8080", "bff.prod.svc"])
def test_good_settings(host: str) -> None:
    """A long secret, or several, and the Host as a reverse proxy sends it."""
    assert [] == complaints()
    assert [] == complaints(secrets=[GOOD, OTHER], hosts=[host])


@pytest.mark.parametrize(
    ("expected", "bad"),
    [
        ("secret 1 of 1 is shorter than 32 characters: it could be guessed", GOOD[1:]),
        ("secret 1 of 1 holds characters that do not pass in a header unchanged", GOOD + " x"),
        ("secret 1 of 1 holds characters that do not pass in a header unchanged", GOOD + "é"),
        ("secret 1 of 1 repeats a few characters only: it could be guessed", "a" * 40),
    ],
)
def test_what_is_no_secret(expected: str, bad: str) -> None:
    """What could be guessed, or would not arrive as it was sent; the value is not repeated."""
    assert [f"forward_auth.secrets {expected}"] == complaints(secrets=[bad])


def test_what_is_no_host() -> None:
    """A URL is none; and a host alone proves nothing."""
    (url,) = complaints(secrets=[GOOD], hosts=["http://bff:8080"])
    assert "no Host: 'http://bff:8080'" in url
    (alone,) = complaints(hosts=["bff:8080"])
    assert "no secret" in alone


@pytest.mark.requirement("S-09")
def test_secrets_come_from_a_file(tmp_path: Path) -> None:
    """One a line, so that one can take another's place; a change of the file is found and judged."""
    file = secret(str(tmp_path / "forward-auth"), f"# the old one goes on Friday\n{OTHER}\n{GOOD}\n")
    settings = load(
        None,
        {
            "BFF_SERVER__PUBLIC_URL": "http://localhost:8080",
            "BFF_SESSION__KEYS": KEY,
            "BFF_PROVIDER__ISSUER": "http://localhost:9000",
            "BFF_PROVIDER__CLIENT_ID": "x",
            "BFF_PROVIDER__CLIENT_SECRET": "x",
            "BFF_FORWARD_AUTH__SECRETS_FILE": str(file),
        },
    )
    assert [OTHER, GOOD] == [value.get_secret_value() for value in settings.forward_auth.secrets]
    watched = WatchedFiles(settings)
    (source,) = watched.sources()
    file.write_text(OTHER)
    taken = watched.take(read([source], settings))
    assert ("forward_auth.secrets_file",) == taken.changed
    assert [OTHER] == [value.get_secret_value() for value in taken.settings.forward_auth.secrets]
    file.write_text("short")
    (problem,) = watched.take(read([source], taken.settings)).refused
    assert problem.key == "forward_auth.secrets"
