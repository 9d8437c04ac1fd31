"""The issuer's settings: bounds, and where they come from."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from bff.crypto import new_secret
from bff.issuer.settings import ClientSettings, IssuerSettings, UserSettings, load

URL = "http://localhost:9000"
CLIENT = ClientSettings(client_id="c", client_secret=SecretStr("s"), redirect_uris=("http://localhost/cb",))


@pytest.mark.requirement("J-01")
def test_lifetimes_are_bounded() -> None:
    """Access tokens above 15 minutes and refresh tokens above 7 days are refused; the bounds are not."""
    for name, most in (("access_token_lifetime", 900), ("refresh_token_lifetime", 7 * 86400)):
        IssuerSettings.model_validate({"url": URL, name: most})
        with pytest.raises(ValidationError, match=name):
            IssuerSettings.model_validate({"url": URL, name: most + 1})


@pytest.mark.parametrize(
    "url",
    [
        "http://id.example.com",
        "https://id.example.com/",
        "https://id.example.com?x",
        "https://id.example.com#x",
        "https://u:p@id.example.com",
        "ftp://localhost",
        "id.example.com",
        "https://id.example.com;x",
        "https://id.example.com *",
        "https://b\u00fccher.example",
        "https://id.example.com/a; Domain=example.com",
        "https://id.example.com/a;b",
        "https://id.example.com:x",
    ],
)
def test_bad_issuer_urls_are_refused(url: str) -> None:
    """An issuer is an https URL without ornaments, or http on loopback."""
    with pytest.raises(ValidationError):
        IssuerSettings(url=url)


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example;script-src */cb",
        "https://app.example *",
        "https://app.example/c b",
        "https://b\u00fccher.example/cb",
        "https://app.example/cb\r\nX: y",
        'https://app.example/"><script>',
        "https://app.example:http/cb",
        "https://app.example,other.example/cb",
    ],
)
@pytest.mark.parametrize("name", ["redirect_uris", "post_logout_redirect_uris", "backchannel_logout_uri"])
def test_a_clients_urls_cannot_write_a_policy(uri: str, name: str) -> None:
    """The Content-Security-Policy of the sign-in page names the host of a redirect URI."""
    value = uri if name == "backchannel_logout_uri" else [uri]
    with pytest.raises(ValidationError, match=name):
        ClientSettings.model_validate({"client_id": "c", "client_secret": "s", name: value})


def test_urls_of_all_kinds_that_there_are_pass() -> None:
    """Encoded characters, queries, ports, addresses, hosts in their ASCII form."""
    uris = (
        "https://xn--bcher-kva.example/cb?a=b&c=%22%20;d",
        "http://[::1]:8080/cb",
        "http://127.0.0.1/(a),b;c=~'*!$@:+",
        "https://under_score.example:8443/cb",
    )
    client = ClientSettings(client_id="c", client_secret=SecretStr("s"), redirect_uris=uris)
    assert uris == client.redirect_uris


@pytest.mark.parametrize(
    "name",
    ["Shop\u202egro.live", "Shop\u2066", "a\nb", "a\x1b[31m", "a\u2028b", "\ufeffa", "\udc80", "n" * 101],
)
def test_names_that_no_page_can_show_are_refused(name: str) -> None:
    """Of a client and of a user: what turns the text behind it, ends a line, or fills the page."""
    with pytest.raises(ValidationError):
        ClientSettings.model_validate({"client_id": "c", "client_secret": "s", "name": name})
    with pytest.raises(ValidationError):
        UserSettings.model_validate({"email": "a@example.com", "password": "p", "name": name})


@pytest.mark.parametrize(
    "name", ["", "<b>Shop</b> & more", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "n" * 100]
)
def test_other_names_are_taken(name: str) -> None:
    """Markup is text, and letters that need a joiner between them have it."""
    assert name == ClientSettings(client_id="c", client_secret=SecretStr("s"), name=name).name


def test_server_keys_are_checked(tmp_path: Path) -> None:
    """Each is 32 bytes in base64url; they come as they are or in a file, newest first; https needs one."""
    one, two = new_secret(), new_secret()
    file = tmp_path / "keys"
    file.write_text(f"{one}\n{two}\n")
    for settings in (
        IssuerSettings(url=URL, server_keys=SecretStr(f"{one},{two}")),
        IssuerSettings(url="https://id.example", server_keys_file=file),
    ):
        assert (one, two) == settings.sealing_keys
    bad: dict[str, Any]
    for bad in (
        {"server_keys": "short"},
        {"server_keys": f"{one},x"},
        {"server_keys": one, "server_keys_file": file},
        {"server_keys_file": tmp_path / "nothing"},
        {"url": "https://id.example"},
        {"rsa_bits": 1024},
        {"algorithm": "HS256"},
        {"refresh_grace": "61s"},
    ):
        with pytest.raises(ValidationError):
            IssuerSettings.model_validate({"url": URL, **bad})


def test_keys_that_everyone_may_write_are_refused(tmp_path: Path) -> None:
    """Whoever can put a key of their own there can make what is sealed: told by the setting's name."""
    file = tmp_path / "keys"
    file.write_text(new_secret())
    file.chmod(0o622)
    with pytest.raises(ValidationError, match="server_keys_file: every user of this machine may write"):
        IssuerSettings(url=URL, server_keys_file=file)
    file.chmod(0o644)
    assert 1 == len(IssuerSettings(url=URL, server_keys_file=file).sealing_keys)


def test_two_clients_of_one_name_are_refused() -> None:
    """A client_id says who asks: it is unique."""
    with pytest.raises(ValidationError, match="client_id"):
        IssuerSettings(url=URL, clients=(CLIENT, CLIENT))


def test_file_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A TOML file is read, and the environment wins over it."""
    file = tmp_path / "issuer.toml"
    file.write_text(
        'url = "http://localhost:1"\naudience = "orders"\naccess_token_lifetime = "60s"\n'
        '[[clients]]\nclient_id = "c"\nclient_secret = "hidden"\nredirect_uris = ["http://localhost/cb"]\n'
    )
    monkeypatch.setenv("ISSUER_URL", "http://localhost:2")
    settings = load(file)
    assert ("http://localhost:2", "orders", 60.0) == (
        settings.url,
        settings.audience,
        settings.access_token_lifetime,
    )
    assert "hidden" not in repr(settings)


def test_clients_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ISSUER_CLIENTS` is a JSON list."""
    monkeypatch.setenv("ISSUER_URL", URL)
    monkeypatch.setenv(
        "ISSUER_CLIENTS",
        '[{"client_id": "c", "client_secret": "s", "redirect_uris": ["http://localhost/cb"]}]',
    )
    assert "c" == load().clients[0].client_id


def test_unknown_keys_are_errors(tmp_path: Path) -> None:
    """A misspelt key is said."""
    file = tmp_path / "issuer.toml"
    file.write_text('url = "http://localhost:1"\naudiense = "orders"\n')
    with pytest.raises(ValidationError, match="audiense"):
        load(file)


def test_argon2_has_memory_for_each_lane() -> None:
    """Parameters that argon2 itself would refuse are refused at the start."""
    IssuerSettings.model_validate({"url": URL, "password_cost": {"memory_kib": 32, "lanes": 4}})
    with pytest.raises(ValidationError, match="memory_kib"):
        IssuerSettings.model_validate({"url": URL, "password_cost": {"memory_kib": 31, "lanes": 4}})


def test_one_address_cannot_use_up_what_an_account_has() -> None:
    """Limits under which a single guesser would lock an owner out are refused."""
    with pytest.raises(ValidationError, match="per_pair"):
        IssuerSettings.model_validate({"url": URL, "sign_in_limits": {"per_pair": 5, "per_account": 5}})
