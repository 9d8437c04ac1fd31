"""Routes whose settings about claims and tokens make no sense together."""

from typing import Any

import pytest

from bff.settings.model import RouteSettings
from tests.settings.test_check import keys, route

BEARER = {"auth": "session or bearer", "bearer_audience": "a"}


@pytest.mark.parametrize(
    ("expected", "values"),
    [
        ([], {"allow": {"groups": "staff"}, "headers": {"X-User": "sub", "Remote-User": "email"}}),
        ([], {"token": "exchange", "audience": "orders"}),
        ([], {"token": "none", "auth": "optional"}),
        (["allow"], {"allow": {"groups": "staff"}, "auth": "none"}),
        (["headers"], {"headers": {"X-User": "sub"}, "auth": "none"}),
        (["headers"], {"headers": {"Cookie": "sub"}}),
        (["headers"], {"headers": {"Host": "sub"}}),
        (["headers"], {"headers": {"Authorization": "sub"}}),
        (["headers"], {"headers": {"User_Agent": "sub"}}),
        (["headers"], {"headers": {"X-Forwarded-For": "sub"}}),
        (["headers", "headers"], {"headers": {"X-User": "sub", "x_user": "email"}}),
        (["headers"], {"headers": {"X-User": ""}}),
        (["headers"], {"headers": {"Remote-User": "sub"}, "pass_request_headers": ["remote_user"]}),
        (["audience"], {"token": "none", "audience": "orders"}),
        (["token"], {"token": "exchange"}),
        (["token"], {"token": "session", "auth": "none"}),
        ([], {"token": "client", "auth": "none", "methods": ["GET", "HEAD"]}),
        (["methods"], {"token": "client", "auth": "none"}),
        ([], {"dpop": False}),
        (["dpop"], {"dpop": True}),
        (["dpop"], {"dpop": False, "auth": "none"}),
        (["dpop"], {"dpop": True, "token": "none"}),
        ([], {"token": "client", "scopes": ["a"], "resource": ["https://a.example"], "audience": "a"}),
        (["scopes", "resource"], {"scopes": ["a"], "resource": ["https://a.example"]}),
        ([], {"token": "minted", "audience": "a", "claims": ["email"]}),
        (["token"], {"token": "minted"}),
        (["claims"], {"claims": ["email"]}),
        (["claims"], {"token": "minted", "audience": "a", "claims": ["email", "aud", "cnf"]}),
        (["token", "audience"], {"token": "minted", "audience": "a", "auth": "none"}),
        ([], {"auth": "session or bearer", "bearer_audience": "a", "bearer_issuer": "https://a.example"}),
        ([], {"auth": "session or bearer", "bearer_audience": "a", "token": "none"}),
        (["auth"], {"auth": "session or bearer"}),
        (
            ["bearer_audience", "bearer_issuer"],
            {"bearer_audience": "a", "bearer_issuer": "https://a.example"},
        ),
        (["bearer_issuer"], {"auth": "session or bearer", "bearer_audience": "a", "bearer_issuer": "a"}),
        ([], BEARER | {"bearer_introspection": True, "bearer_revocations": "rediss://issuer:6379/0"}),
        (["bearer_revocations"], BEARER | {"bearer_revocations": "redis+cluster://a:1"}),
        (["bearer_revocations"], BEARER | {"bearer_revocations": "redis://[::1"}),
        (["bearer_revocations"], {"bearer_revocations": "redis://issuer:6379"}),
        (["bearer_introspection"], {"bearer_introspection": True}),
        (
            ["bearer_introspection"],
            BEARER | {"bearer_introspection": True, "bearer_issuer": "https://a.example"},
        ),
        (["token"], {"auth": "session or bearer", "bearer_audience": "a", "token": "client"}),
        (["token"], {"auth": "session or bearer", "bearer_audience": "a", "audience": "b"}),
        (["resource[0]"], {"token": "client", "resource": ["a"]}),
        (
            ["pass_request_headers"],
            {
                "token": "client",
                "auth": "none",
                "methods": ["GET"],
                "pass_request_headers": ["Authorization"],
            },
        ),
    ],
)
def test_what_a_route_cannot_mean(expected: list[str], values: dict[str, Any]) -> None:
    """Each is named by its key."""
    assert [f"route[0].{key}" for key in expected] == keys(route=[route(**values)])


def test_session_is_the_other_name_of_required() -> None:
    """`auth = "session"` says the same."""
    settings = RouteSettings.model_validate({"path": "/a", "upstream": "http://b", "auth": "session"})
    assert ("required", "session") == (settings.auth, settings.token_kind())


@pytest.mark.requirement("P-03")
def test_a_route_proves_what_a_provider_binds() -> None:
    """`dpop` needs a provider that binds tokens, and says otherwise than the provider only where it may."""
    provider = {"token_binding": "dpop"}
    assert [] == keys(route=[route(dpop=True)], provider=provider)
    assert [] == keys(
        route=[route(dpop=True, token="client", auth="none", methods=["GET"])], provider=provider
    )
    assert ["route[0].dpop"] == keys(route=[route(dpop=True, auth="none")], provider=provider)
    assert ["route[0].dpop"] == keys(route=[route(dpop=True, token="none")], provider=provider)
    by_default = [
        route(),
        route(dpop=False),
        route(token="none"),
        route(token="exchange", audience="a"),
        route(token="client"),
        route(token="minted", audience="a"),
        route(token="minted", audience="a", dpop=True),
    ]
    assert [True, False, False, True, True, False, True] == [
        RouteSettings.model_validate(each).sends_proofs(by_default=True) for each in by_default
    ]
    assert [True, False] == [
        RouteSettings.model_validate(each).sends_proofs(by_default=False)
        for each in (route(dpop=True), route())
    ]


def test_a_sign_in_that_could_not_be_asked_for() -> None:
    """A route's `acr` and `max_age` need the parameters that ask for them."""
    demands = route(acr="mfa", max_age="1h")
    assert [] == keys(route=[demands])
    assert ["route[0].acr", "route[0].max_age"] == keys(
        route=[demands], provider={"login_params": ["prompt"]}
    )


def test_the_name_of_the_issuer_of_minted_tokens() -> None:
    """An address of one's own, and never the provider's."""
    assert [] == keys(minted={"issuer": "https://app.example.com"})
    assert ["minted.issuer"] == keys(minted={"issuer": "http://app.example.com"})
    provider = "https://id.example.com"
    assert ["minted.issuer"] == keys(minted={"issuer": provider}, provider={"issuer": provider})
