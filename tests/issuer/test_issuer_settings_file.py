"""The issuer's settings from a file: every problem at once, with its line and what was meant."""

from pathlib import Path

import pytest

from bff.issuer.settings_file import CONFIG, DEFAULT_FILE, choose_file, doubtful_variables, read_settings
from bff.settings.problem import SettingProblem, SettingsError

MANY = """url = "http://id.example.com"
acces_token_lifetime = "5m"
refresh_token_lifetime = "30d"
prefix = 7

[sign_in_limits]
per_pair = "x"

[[clients]]
client_id = "a b"
client_secret = "hunter2"
redirect_uri = ["https://app.example.com/cb"]

[[clients]]
client_id = "b"
redirect_uris = ["http://example.com/cb"]
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def problems(text: str, monkeypatch: pytest.MonkeyPatch, **variables: str) -> dict[str, SettingProblem]:
    Path("issuer.toml").write_text(text)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        read_settings(None, variables)
    found = {problem.key: problem for problem in refused.value.problems}
    assert len(found) == len(refused.value.problems), "each is told once"
    assert "hunter2" not in str(refused.value)
    return found


def test_all_mistakes_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its line, whatever its kind: a value, a bound, an unknown name, a client's, a table's."""
    found = problems(MANY, monkeypatch)
    assert {
        "url": "file:issuer.toml:1",
        "acces_token_lifetime": "file:issuer.toml:2",
        "refresh_token_lifetime": "file:issuer.toml:3",
        "prefix": "file:issuer.toml:4",
        "sign_in_limits.per_pair": "file:issuer.toml:7",
        "clients[0].client_id": "file:issuer.toml:10",
        "clients[0].redirect_uri": "file:issuer.toml:12",
        "clients[1].redirect_uris[0]": "file:issuer.toml:16",
    } == {key: problem.source for key, problem in found.items()}
    assert 'did you mean "access_token_lifetime"?' == found["acces_token_lifetime"].fix
    assert 'did you mean "redirect_uris"?' == found["clients[0].redirect_uri"].fix


def test_what_two_settings_say_together_is_told_beside_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """An https issuer without server keys, two clients of one name, and a value that is wrong."""
    client = '[[clients]]\nclient_id = "a"\nclient_secret = "hunter2"\n'
    text = f'url = "https://id.example.com"\nprefix = ""\n{client}{client}'
    found = problems(text, monkeypatch)
    assert {"prefix", "clients", "server_keys"} == set(found)
    assert "bff keys generate" in found["server_keys"].fix


def test_a_variable_is_named_as_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment says wins over the file, and is what is wrong."""
    variables = {
        "ISSUER_URL": "ftp://x",
        "ISSUER_SIGN_IN_LIMITS__PER_PAIR": "many",
        "ISSUER_CODE_LIFETIME": "1d",
    }
    found = problems('url = "http://localhost"\n', monkeypatch, **variables)
    assert {f"env {name}" for name in variables} == {problem.source for problem in found.values()}


def test_a_variable_that_is_no_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told beside what the file has."""
    found = problems("url = 7\n", monkeypatch, ISSUER_CLIENTS="[hunter2")
    assert {"ISSUER_CLIENTS", "url"} == set(found)


@pytest.mark.parametrize(
    ("text", "words"), [(None, "there is no such file"), ("url = \n", "line 1"), ("\0", "TOML")]
)
def test_a_file_that_cannot_be_read_is_the_only_problem(text: str | None, words: str) -> None:
    """Missing, no TOML: nothing that is missing because of it is told as well."""
    file = Path("other.toml")
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingsError) as refused:
        read_settings(file, {})
    (problem,) = refused.value.problems
    assert words in problem.message
    assert "file:other.toml" == problem.source


def test_a_missing_setting_and_a_misspelt_one_are_one_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ur` for `url`: nobody is told to set what is there; without any it is missing."""
    assert {"ur"} == set(problems('ur = "http://localhost"\n', monkeypatch))
    assert "ISSUER_URL" in problems("", monkeypatch)["url"].fix


def test_the_file_is_found(here: Path) -> None:
    """What the command line names, then ISSUER_CONFIG, then issuer.toml if it is here, then none."""
    assert choose_file(None, {}) is None
    (here / DEFAULT_FILE).write_text('url = "http://localhost:9000"\n')
    assert Path(DEFAULT_FILE) == choose_file(None, {})
    assert "http://localhost:9000" == read_settings(None, {}).url
    assert Path("/etc/i.toml") == choose_file(None, {CONFIG: "/etc/i.toml"})
    assert Path("mine.toml") == choose_file(Path("mine.toml"), {CONFIG: "/etc/i.toml"})


def test_misspelt_variables_are_doubted() -> None:
    """Those near a setting; what a cluster sets for a service called issuer is none of them."""
    variables = {"ISSUER_URLL": "", "ISSUER_SERVICE_HOST": "", "ISSUER_PORT_9000_TCP": "", "ISSUER_URL": ""}
    assert ["ISSUER_URLL is not a setting: did you mean ISSUER_URL?"] == doubtful_variables(variables)
    inner = {"ISSUER_SIGN_IN_LIMITS__PER_PAIR": "7", CONFIG: "x"}
    assert [] == doubtful_variables(inner)
