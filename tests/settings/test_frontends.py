"""Several frontends in the settings: what each is served with, and what is wrong with one of them."""

import json
from pathlib import Path

import pytest

from bff.policy.frontend_table import hosts_of
from bff.settings.frontends import beside, frontends_of
from bff.settings.load import load
from tests.support.settings import GOOD, GOOD_ENV, keys, only, write

pytestmark = pytest.mark.requirement("P-01")
ROUTE = """
[[route]]
path = "/api"
upstream = "http://localhost:1"
"""
SHOP = """
[[frontend]]
name = "shop"
public_url = "https://shop.example.com/store"
[frontend.session]
idle_timeout = "5m"
[frontend.limits]
login_per_minute = 7
[[frontend.route]]
path = "/basket"
upstream = "http://localhost:2"
"""
DESK = """
[[frontend]]
name = "desk"
public_url = "https://desk.example.com"
"""
NOWHERE = GOOD.replace('public_url = "https://app.example.com"\n', "")


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_without_a_section_there_is_one_with_all_settings() -> None:
    """Nothing changes for a file of one page."""
    settings = load(write(GOOD + ROUTE), {})
    (only_one,) = frontends_of(settings)
    assert ("", True) == (only_one.name, only_one.settings is settings)


def test_the_hosts_of_all_are_let_in() -> None:
    """Under each name a browser may write."""
    hosts = hosts_of(load(write(NOWHERE + ROUTE + SHOP + DESK), {}))
    assert {b"shop.example.com", b"desk.example.com:443"} <= hosts
    assert b"app.example.com" not in hosts


def test_each_is_served_as_if_it_were_the_only_one() -> None:
    """Its place, its sections before the shared ones, its routes beside them; the unnamed one stays."""
    main, shop, desk = frontends_of(load(write(GOOD + ROUTE + SHOP + DESK), {}))
    assert [("", "https://app.example.com", ""), ("shop", "https://shop.example.com", "/store")] == [
        (each.name, *each.place) for each in (main, shop)
    ]
    assert (300.0, 1800.0) == (shop.settings.session.idle_timeout, desk.settings.session.idle_timeout)
    assert shop.settings.session.keys == main.settings.session.keys
    assert (7, 60) == (shop.settings.limits.login_per_minute, desk.settings.limits.login_per_minute)
    assert [["/api"], ["/api", "/basket"], ["/api"]] == [
        [route.path for route in each.settings.route] for each in (main, shop, desk)
    ]


def test_what_others_have_at_the_same_origin() -> None:
    """All below their paths; of one that lies above what is no page; and nothing of other origins."""
    text = GOOD + ROUTE + SHOP.replace("shop.example.com", "app.example.com") + DESK
    text += DESK.replace("desk", "till").replace("till.example.com", "app.example.com/store/till")
    main, shop, desk, till = (each.settings.server for each in frontends_of(load(write(text), {})))
    assert ("/store", "/store/till") == beside(main)
    assert ("/bff", "/api", "/store/till") == beside(shop)
    assert ("/bff", "/api", "/store/bff", "/store/api", "/store/basket") == beside(till)
    assert () == beside(desk)


def test_a_route_that_is_hidden_by_a_frontend_hides_none_of_its_pages() -> None:
    """The shared route `/store` is the backend's at other frontends alone."""
    text = GOOD + ROUTE.replace("/api", "/store") + SHOP.replace("shop.example.com", "app.example.com")
    _, shop = frontends_of(load(write(text), {}))
    assert ("/bff",) == beside(shop.settings.server)


def test_a_frontend_chooses_its_providers() -> None:
    """The first one named is its default; none named: all."""
    more = GOOD.partition("[provider]")[2].replace("https://id", "https://other")
    several = GOOD.replace("[provider]", '[[provider]]\nname = "one"') + f'[[provider]]\nname = "two"{more}'
    text = several + SHOP + DESK.replace('"desk"\n', '"desk"\nproviders = ["two"]\nchoose_provider = true\n')
    _, shop, desk = frontends_of(load(write(text), {}))
    assert [["one", "two"], ["two"]] == [[p.name for p in each.settings.providers()] for each in (shop, desk)]
    assert (False, True) == (shop.settings.server.choose_provider, desk.settings.server.choose_provider)


def test_the_servers_own_address_may_be_left_out() -> None:
    """Then there is no frontend but those named, and the first one's address stands for the server's."""
    settings = load(write(NOWHERE + SHOP + DESK), {})
    assert ["shop", "desk"] == [each.name for each in frontends_of(settings)]
    assert ("https://shop.example.com", "/store") == (settings.server.public_url, settings.server.base_path)
    assert ["frontend[0].public_url"] == keys(NOWHERE + SHOP.replace("https:", "http:"))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (SHOP.replace("idle_timeout", "idle_timeuot"), "frontend[0].session.idle_timeuot"),
        (SHOP.replace("public_url", "public_ulr"), "frontend[0].public_ulr"),
        (SHOP.replace('"5m"', '"soon"'), "frontend[0].session.idle_timeout"),
        (SHOP.replace('"5m"', '"13h"'), "frontend[0].session.idle_timeout"),
        (SHOP.replace("/store", "/store/"), "frontend[0].public_url"),
        (SHOP.replace("/basket", "basket"), "frontend[0].route[0].path"),
        (SHOP.replace("/basket", "/api"), "frontend[0].route[0].path"),
        (SHOP.replace('upstream = "http://localhost:2"\n', ""), "frontend[0].route[0].upstream"),
        (SHOP.replace('name = "shop"\n', ""), "frontend[0].name"),
        (SHOP + SHOP.replace("shop.", "other."), "frontend[1].name"),
        (SHOP + SHOP.replace('"shop"', '"two"'), "frontend[1].public_url"),
        (DESK.replace("desk.", "app."), "frontend[0].public_url"),
        (DESK.replace("desk.example.com", "app.example.com:8443"), "frontend[0].public_url"),
        (DESK.replace('"desk"', '"default"'), "frontend[0].name"),
        (DESK + 'providers = ["nobody"]\n', "frontend[0].providers"),
        (DESK + '[frontend.session]\ncsrf_header = "X-Own"\n', "frontend[0].session.csrf_header"),
        (DESK + '[frontend.spa]\ndir = "nowhere"\n', "frontend[0].spa.dir"),
        (DESK + '[frontend.session]\nsame_site = "lax"\n', "frontend[0].session.same_site"),
        (DESK + "session = 7\n", "frontend[0].session"),
        ("frontend = 7\n", "frontend"),
    ],
)
def test_a_mistake_is_told_of_by_its_place(text: str, key: str) -> None:
    """Values, names, combinations, and what two of them are to each other; each once."""
    whole = text + GOOD + ROUTE if text.startswith("frontend =") else GOOD + ROUTE + text
    if key == "frontend[0].public_url" and "app." in text and ":8443" not in text:
        assert ["https://app.example.com"] == [f.place[0] for f in frontends_of(load(write(whole), {}))]
        return
    problem = only(whole)
    assert key == problem.key
    assert problem.fix


def test_a_route_below_another_frontend_is_told_of() -> None:
    """At one origin the longest path wins, so that it could never be asked for."""
    outer = DESK + '[[frontend.route]]\npath = "/inner/x"\nupstream = "http://localhost:3"\n'
    inner = '[[frontend]]\nname = "inner"\npublic_url = "https://desk.example.com/inner"\n'
    assert "frontend[0].route[0].path" == only(GOOD + outer + inner).key


def test_each_of_many_alike_is_told_of_once() -> None:
    """By the first one: with each pair, a file of some hundred routes had tens of thousands of mistakes."""
    assert [f"route[{number}].path" for number in (1, 2, 3)] == keys(GOOD + 4 * ROUTE)
    alike = "".join(DESK.replace('"desk"', f'"d{number}"') for number in range(4))
    assert [f"frontend[{number}].public_url" for number in (1, 2, 3)] == keys(GOOD + alike)


@pytest.mark.parametrize("path", ["/bff", "/BFF/login", "/bff/x"])
def test_a_frontend_below_anothers_endpoints_is_told_of(path: str) -> None:
    """It would get what is for the other's sign-in."""
    outer = DESK.replace("desk.example.com", "desk.example.com/desk")
    inner = f'[[frontend]]\nname = "inner"\npublic_url = "https://desk.example.com/desk{path}"\n'
    problem = only(GOOD + inner + outer)
    assert ("frontend[0].public_url", True) == (problem.key, "the endpoints of desk" in problem.message)


def test_frontends_come_from_the_environment_as_one_list() -> None:
    """JSON in BFF_FRONTEND; a variable of one setting is guessed at."""
    sections = [{"name": "shop", "public_url": "https://shop.example.com"}]
    settings = load(None, {**GOOD_ENV, "BFF_FRONTEND": json.dumps(sections)})
    assert "shop" == settings.frontend[0].name
    assert "BFF_FRONTEND" in only(GOOD, BFF_FRONTEND__NAME="shop").fix
