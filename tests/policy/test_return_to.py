"""Where a sign-in may lead: the corpus of tricks, the good ones, and the parameters of login."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.policy.return_to import MAX_RETURN_TO, check_return_to, login_params, named_details, with_error
from bff.policy.routes import RouteTable
from bff.settings.model import RouteSettings

DATA = Path(__file__).parent.parent / "data"
ROUTES = RouteTable.from_settings(
    [
        RouteSettings(path="/api", upstream="http://127.0.0.1:1"),
        RouteSettings(path="/reports", upstream="http://127.0.0.1:1"),
    ]
)


def corpus(name: str) -> list[str]:
    lines = (DATA / name).read_text("utf-8").splitlines()
    return [line.encode().decode("unicode_escape") for line in lines if line and not line.startswith("# ")]


@pytest.mark.requirement("O-04")
@pytest.mark.parametrize("value", ["", *corpus("open_redirects.txt")])
def test_every_known_trick_is_refused(value: str) -> None:
    """No known trick leads off this origin, under /bff, or to a configured route."""
    assert None is check_return_to(value, ROUTES.covers)


@pytest.mark.requirement("O-04", "P-01")
@pytest.mark.parametrize(
    "value",
    [
        "/desk/bff/logout",
        "/DESK/bff",
        "/desk/files/7?x#y",
        "/desk//files",
        "/%64esk/files",
        "/x/../desk/files",
    ],
)
def test_no_way_to_another_frontend_at_this_origin(value: str) -> None:
    """Its endpoints and backends would be asked by a request of this origin; its pages may be gone to."""
    routes = RouteTable.from_settings([], beside=["/desk/bff", "/desk/files"])
    assert None is check_return_to(value, routes.covers)
    assert "/desk/page" == check_return_to("/desk/page", routes.covers)


@pytest.mark.parametrize("value", corpus("good_return_to.txt"))
def test_a_page_of_this_origin_is_accepted_as_it_is(value: str) -> None:
    """A path with its query and fragment comes back byte for byte."""
    assert value == check_return_to(value, ROUTES.covers)


def test_the_corpus_is_large_enough_to_mean_something() -> None:
    """At least 80 tricks, none twice."""
    tricks = corpus("open_redirects.txt")
    assert len(set(tricks)) == len(tricks)
    assert len(tricks) >= 80


@pytest.mark.requirement("O-04")
def test_the_limit_is_1024_bytes() -> None:
    """1,024 bytes pass, one more does not."""
    longest = "/" + "a" * (MAX_RETURN_TO - 1)
    assert longest == check_return_to(longest, ROUTES.covers)
    assert None is check_return_to(longest + "a", ROUTES.covers)


@given(st.text(alphabet="/\\.;%25fFcC0aA9eE\t\n?#@:bfapi", max_size=24).map(lambda tail: "/" + tail))
def test_what_is_accepted_is_a_plain_path(value: str) -> None:
    """Whatever passes begins with one slash, and holds no backslash, control character or empty segment."""
    accepted = check_return_to(value, ROUTES.covers)
    if accepted is not None:
        path = accepted.partition("?")[0].partition("#")[0]
        assert "//" not in path
        assert "\\" not in accepted
        assert accepted.isprintable()
        assert not ROUTES.covers(path.encode())


@pytest.mark.requirement("O-12")
@pytest.mark.parametrize(
    ("expected", "return_to", "code"),
    [
        ("/orders?bff_error=access_denied", "/orders", "access_denied"),
        ("/orders?x=1&bff_error=access_denied", "/orders?x=1", "access_denied"),
        ("/orders?x=1&bff_error=access_denied#top", "/orders?x=1#top", "access_denied"),
        ("/?bff_error=login_required#/orders?y", "/#/orders?y", "login_required"),
        ("/?bff_error=new", "/?bff_error=old", "new"),
        ("/?a=1&b=2&bff_error=new", "/?a=1&bff_error=old&b=2", "new"),
        ("/?bff_error=server_error", "/", "a\r\nb"),
        ("/?bff_error=server_error", "/", "x&y=1"),
        ("/?bff_error=server_error", "/", ""),
        ("/?bff_error=server_error", "/", "a" * 65),
        ("/?bff_error=server_error", "/", "b\u00fc"),
    ],
)
def test_an_error_reaches_the_page_as_a_code(expected: str, return_to: str, code: str) -> None:
    """The code stands in the query, once, before the fragment, and can only be a code."""
    assert expected == with_error(return_to, code)


ALLOWED = ("prompt", "login_hint", "acr_values", "max_age", "ui_locales")


@pytest.mark.parametrize(
    ("expected", "query"),
    [
        ({}, []),
        ({}, [("return_to", "/x"), ("redirect_uri", "https://evil.example"), ("scope", "admin")]),
        ({"prompt": "login"}, [("prompt", "login")]),
        ({"prompt": "login consent"}, [("prompt", "login consent")]),
        ({"prompt": "none"}, [("prompt", "none")]),
        (
            {"max_age": "0", "login_hint": "alice@example.com"},
            [("max_age", "0"), ("login_hint", "alice@example.com")],
        ),
        ({"ui_locales": "de en"}, [("ui_locales", "de en"), ("unknown", "\r\n")]),
        (None, [("prompt", "none login")]),
        (None, [("prompt", "login login")]),
        (None, [("prompt", "evil")]),
        (None, [("prompt", "login"), ("prompt", "none")]),
        (None, [("max_age", "-1")]),
        (None, [("max_age", "1.5")]),
        (None, [("max_age", "\u0661")]),
        (None, [("max_age", "1" * 10)]),
        (None, [("login_hint", "")]),
        (None, [("login_hint", "a\nb")]),
        (None, [("login_hint", "a" * 513)]),
    ],
)
def test_only_sane_parameters_go_on_to_the_provider(
    expected: dict[str, str] | None, query: list[tuple[str, str]]
) -> None:
    """Listed names pass, others are left out, and malformed values refuse the request."""
    assert expected == login_params(query, ALLOWED)


@pytest.mark.parametrize(
    ("expected", "query"),
    [
        ("", []),
        ("", [("prompt", "login")]),
        ("transfer", [("authorization_details", "transfer")]),
        (None, [("authorization_details", "")]),
        (None, [("authorization_details", '[{"type":"transfer"}]')]),
        (None, [("authorization_details", "transfer"), ("authorization_details", "transfer")]),
    ],
)
def test_details_are_asked_for_by_a_known_name(expected: str | None, query: list[tuple[str, str]]) -> None:
    """A page names what the settings have; it states nothing by itself."""
    assert expected == named_details(query, {"transfer"})
