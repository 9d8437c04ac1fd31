"""Rules about claims, and headers made of claims: what holds, and what no claim can smuggle in."""

from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from bff.policy.claim_rules import MOST_BYTES, claim_at, header_value, holds, is_refuted, kept_claims
from bff.policy.route_access import AccessPlan, RouteAccess, asked_claims, claim_headers
from bff.settings.claim_rule import ClaimRule, names_of
from bff.settings.environment import Environment
from bff.settings.model import RouteSettings

RULE: TypeAdapter[ClaimRule] = TypeAdapter(ClaimRule)
DOMAIN = {"email": {"ends_with": "@example.com"}}
STAFF = {"groups": ["staff"], "email_verified": True}


@pytest.mark.requirement("P-07")
@pytest.mark.parametrize(
    ("expected", "rule", "claims"),
    [
        (True, STAFF, {"groups": ["staff", "x"], "email_verified": True}),
        (True, STAFF, {"groups": "staff", "email_verified": True}),
        (False, STAFF, {"groups": ["staff"]}),
        (False, STAFF, {"groups": ["staff"], "email_verified": "true"}),
        (False, STAFF, {"groups": ["staff"], "email_verified": 1}),
        (False, STAFF, {"groups": ["staff"], "email_verified": None}),
        (False, STAFF, {"groups": [], "email_verified": True}),
        (False, STAFF, {"groups": "staff,admin", "email_verified": True}),
        (False, STAFF, {"groups": ["Staff"], "email_verified": True}),
        (False, STAFF, {"groups": [["staff"]], "email_verified": True}),
        (False, STAFF, {"groups": {"staff": True}, "email_verified": True}),
        (True, {"level": 3}, {"level": 3}),
        (False, {"level": 1}, {"level": True}),
        (False, {"level": 3}, {"level": "3"}),
        (True, {"groups": {"all": ["a", "b"]}}, {"groups": ["b", "a"]}),
        (False, {"groups": {"all": ["a", "b"]}}, {"groups": ["a"]}),
        (True, {"groups": {"any": ["a", "b"], "none": ["out"]}}, {"groups": ["b"]}),
        (False, {"groups": {"any": ["a", "b"], "none": ["out"]}}, {"groups": ["b", "out"]}),
        (False, {"groups": {"none": ["out"]}}, {}),
        (False, {"groups": {"none": ["out"]}}, {"groups": None}),
        (False, {"groups": {"none": ["out"]}}, {"groups": [{"name": "out"}]}),
        (False, {"groups": {"none": ["out"]}}, {"groups": ["in", 5]}),
        (False, {"groups": {"none": ["out"]}}, {"groups": [["out"]]}),
        (False, {"level": {"none": [3]}}, {"level": 3.0}),
        (False, {"level": {"none": [1]}}, {"level": True}),
        (True, {"groups": {"none": ["out"]}}, {"groups": []}),
        (True, [{"tid": "a"}, {"tid": "b", "level": 2}], {"tid": "b", "level": 2}),
        (False, [{"tid": "a"}, {"tid": "b", "level": 2}], {"tid": "b", "level": 1}),
        (True, {"realm_access.roles": ["admin"]}, {"realm_access": {"roles": ["admin"]}}),
        (False, {"realm_access.roles": ["admin"]}, {"realm_access": {"roles": {"admin": 1}}}),
        (False, {"realm_access.roles": ["admin"]}, {"realm_access": ["roles"]}),
        (True, DOMAIN, {"email": "alice@example.com"}),
        (True, DOMAIN, {"email": "Alice@EXAMPLE.com"}),
        (True, DOMAIN, {"email": ["x@y.example", "alice@example.com"]}),
        (True, {"host": {"ends_with": [".a.example", ".b.example"]}}, {"host": "x.b.example"}),
        (False, DOMAIN, {"email": "alice@notexample.com"}),
        (False, DOMAIN, {"email": "alice@example.com.evil.example"}),
        (False, DOMAIN, {"email": "alice@example.com "}),
        (False, DOMAIN, {"email": "a\u212alice@example.com"}),
        (False, DOMAIN, {"email": 5}),
        (False, DOMAIN, {"email": []}),
        (False, DOMAIN, {}),
        (False, {"email": {**DOMAIN["email"], "none": ["bob@example.com"]}}, {"email": "bob@example.com"}),
        (True, {"https://x.example/roles": ["admin"]}, {"https://x.example/roles": ["admin"]}),
    ],
)
def test_what_holds(expected: Any, rule: Any, claims: dict[str, Any]) -> None:
    """All lines of a table, one table of a list; exact values, and nothing for what is missing."""
    assert expected is holds(RULE.validate_python(rule), claims)


@pytest.mark.requirement("P-07")
@pytest.mark.parametrize(
    ("expected", "rule", "claims"),
    [
        (False, STAFF, {"groups": ["staff"], "email_verified": True}),
        (True, STAFF, {"groups": ["x"], "email_verified": True}),
        (True, STAFF, {"groups": ["x"]}),
        (True, STAFF, {"groups": None}),
        (False, STAFF, {"groups": ["staff"]}),
        (False, STAFF, {}),
        (True, {"realm_access.roles": "admin"}, {"realm_access": {}}),
        (True, {"realm_access.roles": "admin"}, {"realm_access.roles": None}),
        (False, {"realm_access.roles": "admin"}, {"roles": []}),
        (False, [{"tid": "a"}, {"tid": "b", "level": 2}], {"tid": "b"}),
        (True, [{"tid": "a"}, {"tid": "b", "level": 2}], {"tid": "b", "level": 1}),
    ],
)
def test_a_rule_is_refuted_by_what_is_known(expected: bool, rule: Any, claims: dict[str, Any]) -> None:
    """A claim that is not there refutes nothing; one that is null does."""
    assert expected is is_refuted(RULE.validate_python(rule), claims)


@pytest.mark.parametrize(
    "rule",
    [
        {},
        [],
        [{}],
        "staff",
        ["staff"],
        {"groups": []},
        {"groups": {}},
        {"groups": {"some": ["a"]}},
        {"groups": {"all": []}},
        {"groups": ""},
        {"groups": [""]},
        {"groups": 1.5},
        {"groups": [["a"]]},
        {"groups": None},
        {"": "a"},
        {"email": {"ends_with": "example.com"}},
        {"email": {"ends_with": ["@example.com", "@"]}},
        {"email": {"ends_with": 5}},
        {"email": {"ends_with": "@exämple.com"}},
        {"groups": [str(number) for number in range(101)]},
        {str(number): "a" for number in range(101)},
    ],
)
def test_what_is_no_rule(rule: Any) -> None:
    """A rule that could hold for nobody, or that says something else than it means, is refused."""
    with pytest.raises(ValidationError):
        RULE.validate_python(rule)


def test_a_rule_that_was_read_stays() -> None:
    """A section that is validated again keeps its rule."""
    rule = RULE.validate_python(STAFF)
    assert rule == RULE.validate_python(rule)
    assert ["groups", "email_verified"] == list(names_of(rule))
    assert [] == list(names_of(None))


def test_a_rule_from_the_environment() -> None:
    """It is written as JSON there."""
    found = Environment({"BFF_PROVIDER__ALLOW": '{"groups": ["staff"]}'})
    assert [] == found.problems
    assert (("groups",),) == tuple(
        tuple(test.claim for test in tests)
        for tests in RULE.validate_python(found.values["provider"]["allow"])
    )


def test_what_is_kept() -> None:
    """The whole claim that a dotted name leads into, and no other one."""
    claims = {"a.b": 1, "a": {"b": 2}, "c": {"d": 3}, "e": 4}
    assert {"a.b": 1, "c": {"d": 3}} == kept_claims(claims, ["a.b", "c.d", "f.g"])
    assert 1 == claim_at(claims, "a.b")
    assert claim_at(claims, "e.f") is None


@pytest.mark.requirement("P-07")
@pytest.mark.parametrize(
    ("expected", "value"),
    [
        (b"alice", "alice"),
        (b"Alice A.", "Alice A."),
        (b"%20a%20", " a "),
        (b"%20%20", "  "),
        (b"a%0D%0AX-Admin: 1", "a\r\nX-Admin: 1"),
        (b"100%25", "100%"),
        (b"J%C3%BCrgen", "Jürgen"),
        (b"a,b", "a,b"),
        (b"a,b%2Cadmin", ["a", "b,admin"]),
        (b"1,true", [1, True]),
        (b"false", False),
        (b"7", 7),
        (None, ""),
        (None, []),
        (None, [""]),
        (None, None),
        (None, {"a": 1}),
        (None, ["a", {"b": 1}]),
        (None, 1.5),
        (None, "x" * (MOST_BYTES + 1)),
    ],
)
def test_a_value_for_a_header(expected: bytes | None, value: Any) -> None:
    """One line of printable ASCII; a list's members stay apart, whatever they hold."""
    assert expected == header_value(value)


def test_half_a_character() -> None:
    """What JSON can write and UTF-8 cannot is shown as a question mark."""
    assert b"?" == header_value(chr(0xD800))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20), min_size=1))
def test_a_list_reads_back(members: list[str]) -> None:
    """Splitting at commas, then decoding, gives the members again."""
    value = header_value(members)
    if value is not None:
        assert value == value.strip()
        assert all(0x20 <= byte < 0x7F for byte in value)
        assert members == [unquote(part) for part in value.decode().split(",")]


def test_the_views_of_a_session() -> None:
    """Each route that asks for claims has one, by its index; the others have none."""
    base = {"upstream": "http://b"}
    staff = RouteSettings.model_validate({**base, "path": "/s", "allow": {"g": "staff"}})
    told = RouteSettings.model_validate({**base, "path": "/t", "headers": {"X-User": "sub", "X-G": "g"}})
    plain = RouteSettings.model_validate({**base, "path": "/p"})
    plan = AccessPlan([(b"/p", plain), (b"/s", staff), (b"/t", told)], more=["acr"])
    assert {"acr": "silver"} == plan.kept({"acr": "silver", "shoe_size": 44})
    assert {b"/s", b"/t"} == set(plan.by_path)
    assert {"g", "sub", "acr"} == plan.names
    out, lines = plan.views({"sub": "alice"}, bound=False)
    assert (float("-inf"), b"x-user: alice\r\n") == (out.until, lines.lines)
    assert float("inf") == plan.views({"g": ["staff"]}, bound=False)[0].until
    access = plan.by_path[b"/t"]
    assert isinstance(access, RouteAccess)
    assert [(b"x-g", b"a")] == claim_headers(access.headers, {"g": "a"})


def test_the_claims_of_minted_tokens() -> None:
    """A session keeps them, and userinfo is asked for those that a route names; they are no rule."""
    values = {"path": "/m", "upstream": "http://b", "token": "minted", "audience": "b", "claims": ["email"]}
    minted = RouteSettings.model_validate(values)
    plan = AccessPlan([(b"/m", minted)])
    assert {"email", "auth_time", "acr"} == plan.names
    assert {} == plan.by_path
    assert {"email"} == asked_claims(minted)


def test_a_route_that_demands_a_sign_in() -> None:
    """Its view ends with the sign-in's age, and shuts out a weaker one; it asks for these claims alone."""
    base = {"path": "/a", "upstream": "http://b"}
    strong = RouteSettings.model_validate({**base, "acr": "mfa"})
    fresh = RouteSettings.model_validate({**base, "max_age": "1m"})
    plan = AccessPlan([(b"/s", strong), (b"/f", fresh)])
    assert {"acr", "auth_time"} == plan.names
    claims = {"auth_time": 100, "acr": "pwd"}
    assert [float("-inf"), 160] == [view.until for view in plan.views(claims, bound=False)]
    assert [float("inf"), float("-inf")] == [view.until for view in plan.views({"acr": "mfa"}, bound=False)]


@pytest.mark.parametrize(
    ("expected", "group", "bound", "now"),
    [
        ("claims", "guests", False, 160),
        ("device", "staff", False, 160),
        ("sign_in", "staff", True, 160),
        (None, "staff", True, 159),
    ],
)
def test_the_order_of_a_routes_refusals(expected: str | None, group: str, bound: bool, now: float) -> None:
    """A user whom no sign-in would help is told so first; the sign-in is asked for on the bound device."""
    route = RouteSettings.model_validate(
        {"path": "/a", "upstream": "http://b", "allow": {"g": "staff"}, "bound": True, "max_age": "1m"}
    )
    claims = {"g": group, "auth_time": 100}
    access = RouteAccess.of(0, route)
    assert expected == access.refusal(claims, now, bound=bound)
    assert (expected in {"claims", "device"}) is (float("-inf") == access.view(claims, bound=bound).until)
