"""Several providers in the settings: one list, each with its own findings, secrets and places in the file."""

import json
from pathlib import Path

import pytest

from bff.settings.load import load
from tests.support.settings import GOOD, GOOD_ENV, KEY, keys, only, secret, write


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


SERVER = f"""
[server]
public_url = "https://app.example.com"
[session]
keys = ["{KEY}"]
"""
STAFF = """
[[provider]]
name = "staff"
issuer = "https://staff.example.com"
client_id = "spa"
client_secret = "s3cret"
"""
GUESTS = STAFF.replace("staff", "guests")


def test_the_first_of_several_is_the_default() -> None:
    """A list of providers, in the order of the file; a single table means the same as a list of one."""
    settings = load(write(SERVER + STAFF + GUESTS), {})
    assert ("staff", ["staff", "guests"]) == (settings.provider.name, [p.name for p in settings.providers()])
    assert ("main", 1) == ((one := load(write(GOOD), {})).provider.name, len(one.providers()))
    assert ["staff"] == [each.name for each in load(write(SERVER + STAFF), {}).providers()]


def test_each_is_judged_by_the_same_rules() -> None:
    """Values, types, unknown keys and combinations, each under the number of its section."""
    wrong = GUESTS.replace("https://guests", "http://guests") + 'nmae = "x"\ntimeout = "soon"\n'
    assert {"provider[1].issuer", "provider[1].nmae", "provider[1].timeout"} == set(
        keys(SERVER + STAFF + wrong)
    )
    assert "provider[0].issuer" == only(SERVER + STAFF.replace("https:", "ftp:") + GUESTS).key
    missing = only(SERVER + STAFF + GUESTS.replace('client_id = "spa"\n', ""))
    assert ("provider[1].client_id", "set it under [[provider]]") == (missing.key, missing.fix)
    assert "provider[1].name" == only(SERVER + STAFF + STAFF).key
    assert "provider[1].name" == only(SERVER + STAFF + GUESTS.replace('"guests"', '"finish"')).key


@pytest.mark.requirement("P-09")
def test_a_token_of_ours_has_a_giver() -> None:
    """`token_provider` names a provider that is there, at each frontend that has the route."""
    route = '[[route]]\npath = "/a"\nupstream = "http://a"\nmethods = ["GET"]\ntoken = "client"\n'
    named = SERVER + STAFF + GUESTS + route + 'token_provider = "guests"\n'
    assert "guests" == load(write(named), {}).route[0].token_provider
    unknown = only(named.replace('token_provider = "guests"', 'token_provider = "nobody"'))
    assert ("route[0].token_provider", True) == (unknown.key, "guests, staff" in unknown.fix)
    assert "route[0].token_provider" == only(named.replace('token = "client"\n', "")).key
    shop = '[[frontend]]\nname = "shop"\npublic_url = "https://shop.example.com"\nproviders = ["staff"]\n'
    lacks = only(named + shop)
    assert ("frontend[0].providers", True) == (lacks.key, "route[0].token_provider" in lacks.message)
    own = route.replace("[[route]]", "[[frontend.route]]") + 'token_provider = "nobody"\n'
    assert "frontend[0].route[0].token_provider" == only(SERVER + STAFF + GUESTS + shop + own).key


def test_each_has_secrets_of_its_own() -> None:
    """From a file each; a second value beside it is told of by its number."""
    file = secret("guests-secret", "of the guests\n")
    guests = GUESTS.replace('client_secret = "s3cret"', f'client_secret_file = "{file}"')
    found = load(write(SERVER + STAFF + guests), {}).more_providers[0].client_secret
    assert found is not None
    assert "of the guests" == found.get_secret_value()
    both = only(SERVER + STAFF + guests + 'client_secret = "x"\n')
    assert "provider[1].client_secret_file" == both.key


def test_the_environment_has_all_or_none() -> None:
    """One JSON list replaces them; a variable of one setting cannot say which it means."""
    named = [{"name": name, "issuer": f"https://{name}.example.com", "client_id": "x", "client_secret": "s3"}
             for name in ("one", "two")]  # fmt: skip
    environ = {key: value for key, value in GOOD_ENV.items() if "PROVIDER" not in key}
    settings = load(None, {**environ, "BFF_PROVIDER": json.dumps(named)})
    assert ["one", "two"] == [each.name for each in settings.providers()]
    laid_over = only(SERVER + STAFF + GUESTS, BFF_PROVIDER__CLIENT_ID="other")
    assert ("provider", "env BFF_PROVIDER__CLIENT_ID") == (laid_over.key, laid_over.source)


def test_a_list_of_something_else_is_told_of() -> None:
    """No table in it, and an empty one."""
    assert {"provider[0]", "provider[1]"} <= set(keys("provider = [1, 2]\n" + SERVER))
    assert {"provider.issuer", "provider.client_id"} <= set(keys("provider = []\n" + SERVER))
