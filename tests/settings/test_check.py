"""Settings that make no sense, alone or together."""

import base64
from typing import Any

import pytest

from bff.oidc.requests import RESERVED
from bff.settings.check import EXAMPLE_KEY, check
from bff.settings.client_key import EXAMPLE_SECRET
from bff.settings.model import Settings
from bff.settings.provider_check import OWN_PARAMS
from tests.support.settings import KEY, OTHER


def settings(**sections: Any) -> Settings:
    base: dict[str, Any] = {
        "server": {"public_url": "https://app.example.com"},
        "session": {"keys": [KEY]},
        "provider": {"issuer": "https://id.example.com", "client_id": "spa", "client_secret": "s3cret"},
        "route": [],
    }
    for name, values in sections.items():
        base[name] = values if name == "route" else base.get(name, {}) | values
    return Settings.model_validate(base)


def keys(**sections: Any) -> list[str]:
    return [finding.key for finding in check(settings(**sections))]


def route(**values: Any) -> dict[str, Any]:
    return {"path": "/api", "upstream": "http://backend:8000"} | values


def test_good_settings_have_no_findings() -> None:
    """The smallest good settings pass, and so do fuller ones."""
    assert [] == keys()
    assert [] == keys(
        session={"keys": [KEY, OTHER + "="], "max_lifetime": "30d", "allow_long_sessions": True},
        route=[
            route(),
            route(path="/api/orders", csrf="navigation", methods=["GET"]),
            route(path="/a", upstream="http://unix:/run/a.sock:/v1"),
            route(path="/b", upstream="https://b", ca_file="/x", client_cert_file="/y", server_name="c"),
        ],
        spa={"url": "http://localhost:5173"},
        provider={"extra_params": {"audience": "x"}, "post_logout_path": "/bye"},
    )
    assert [] == keys(
        server={"public_url": "http://localhost:8080", "ops_port": "off"},
        session={"same_site": "lax"},
        provider={"issuer": "http://localhost:9000"},
        redis={"url": "embedded"},
    )


@pytest.mark.parametrize(
    ("expected", "sections"),
    [
        ("server.public_url", {"server": {"public_url": "https://app.example.com/"}}),
        ("spa.error_page", {"spa": {"error_page": "//evil.example"}}),
        ("spa.error_page", {"spa": {"error_page": "/bff/error"}}),
        ("spa.error_page", {"spa": {"error_page": "/api/error"}, "route": [route()]}),
        ("server.ops_port", {"server": {"ops_port": 8080}}),
        ("server.ops_hosts", {"server": {"ops_hosts": ["http://bff:9090"]}}),
        ("server.trusted_proxies", {"server": {"trusted_proxies": ["0.0.0.0/0"]}}),
        ("server.trusted_proxies", {"server": {"trusted_proxies": ["::/0"]}}),
        ("redis.url", {"redis": {"url": "memory://"}}),
        ("redis.url", {"redis": {"url": "embedded"}}),
        ("redis.wait_timeout", {"redis": {"wait_timeout": "2s"}}),
        ("session.max_lifetime", {"session": {"max_lifetime": "8d"}}),
        ("session.idle_timeout", {"session": {"idle_timeout": "13h"}}),
        ("session.slide_interval", {"session": {"slide_interval": "30m"}}),
        ("session.same_site", {"session": {"same_site": "lax"}}),
        ("session.csrf_header", {"session": {"csrf_header": "Accept"}}),
        ("session.csrf_header", {"session": {"csrf_header": "content-type"}}),
        ("session.csrf_header", {"session": {"csrf_header": "Sec-Fetch-Site"}}),
        ("session.csrf_header", {"session": {"csrf_header": "Origin"}}),
        ("refresh.timeout", {"refresh": {"timeout": "31s"}}),
        ("refresh.timeout", {"server": {"shutdown_timeout": "10s"}}),
        ("provider.issuer", {"provider": {"issuer": "https://id.example.com?x"}}),
        (
            "provider.issuer",
            {"provider": {"issuer": "https://id.example.com/.well-known/openid-configuration"}},
        ),
        ("provider.issuer", {"provider": {"issuer": "http://localhost:9000"}}),
        ("provider.signals_issuer", {"provider": {"signals_issuer": "http://id.example.com"}}),
        ("provider.signals_jwks_uri", {"provider": {"signals_jwks_uri": "/jwks"}}),
        ("provider.client_id", {"provider": {"client_id": ""}}),
        ("provider.resource[0]", {"provider": {"resource": ["orders"]}}),
        ("provider.resource[1]", {"provider": {"resource": ["urn:orders", "https://api.example/#x"]}}),
        ("provider.client_secret", {"provider": {"client_secret": None}}),
        ("provider.client_secret", {"provider": {"client_secret": ""}}),
        ("provider.client_secret", {"provider": {"client_secret": EXAMPLE_SECRET}}),
        ("provider.scopes", {"provider": {"scopes": ["profile"]}}),
        ("provider.scopes", {"provider": {"scopes": ["openid", "a b"]}}),
        ("provider.login_params", {"provider": {"login_params": ["prompt", "redirect_uri"]}}),
        ("provider.extra_params", {"provider": {"extra_params": {"redirect_uri": "x"}}}),
        ("provider.id_token_algs", {"provider": {"id_token_algs": ["RS256", "none"]}}),
        ("provider.id_token_algs", {"provider": {"id_token_algs": ["HS256"]}}),
        ("provider.id_token_algs", {"provider": {"id_token_algs": []}}),
        ("provider.post_logout_path", {"provider": {"post_logout_path": "//evil.example"}}),
        ("provider.post_logout_path", {"provider": {"post_logout_path": "/api/x"}, "route": [route()]}),
        ("route[0].path", {"route": [route(path="/api/")]}),
        ("route[0].upstream", {"route": [route(upstream="unix:/run/x")]}),
        ("route[0].ca_file", {"route": [route(ca_file="/x")]}),
        ("route[0].server_name", {"route": [route(upstream="http://unix:/run/x", server_name="x")]}),
        ("route[0].server_name", {"route": [route(upstream="https://backend", server_name="a:1")]}),
        ("route[0].client_key_file", {"route": [route(upstream="https://backend", client_key_file="/x")]}),
        ("route[0].audience", {"route": [route(audience="orders", auth="none")]}),
        ("route[1].path", {"route": [route(), route()]}),
        ("route[0].methods", {"route": [route(methods=[])]}),
        ("route[0].methods", {"route": [route(methods=["GET", "TRACE"])]}),
        ("route[0].methods", {"route": [route(methods=["GET", "VERSION-CONTROL"])]}),
        ("route[0].methods", {"route": [route(methods=["GETT"])]}),
        ("route[0].pass_request_headers", {"route": [route(pass_request_headers=["Cookie"])]}),
        ("route[0].pass_request_headers", {"route": [route(pass_request_headers=["x_forwarded_for"])]}),
        ("route[0].pass_request_headers", {"route": [route(pass_request_headers=["X-Own"])]}),
        ("route[0].pass_request_headers", {"route": [route(pass_request_headers=["Authorization"])]}),
        ("route[0].pass_response_headers", {"route": [route(pass_response_headers=["BFF-Retry"])]}),
        ("route[0].pass_response_headers", {"route": [route(pass_response_headers=["WWW-Authenticate"])]}),
        ("route[0].pass_response_headers", {"route": [route(pass_response_headers=["ETag"])]}),
        ("route[0].challenges", {"route": [route(challenges=["Bearer", "NTLM"])]}),
        ("route[0].rate_per_session", {"route": [route(auth="none", rate_per_session="5/s")]}),
        ("route[0].csrf", {"route": [route(methods=["POST"], csrf="navigation")]}),
        ("spa.url", {"spa": {"url": "localhost"}}),
        ("spa.url", {"spa": {"url": "http://localhost:5173", "dir": "dist"}}),
        ("spa.index", {"spa": {"index": "../index.html"}}),
        ("spa.index", {"spa": {"index": ""}}),
        ("spa.immutable", {"spa": {"immutable": ["assets/"]}}),
        ("spa.immutable", {"spa": {"immutable": ["/"]}}),
        ("spa.public", {"spa": {"public": ["goodbye.html"]}}),
        ("spa.auth", {"spa": {"auth": "required"}}),
        ("spa.auth", {"spa": {"auth": "required", "url": "http://localhost:5173"}}),
    ],
)
def test_each_mistake_is_found_once(expected: str, sections: dict[str, Any]) -> None:
    """One mistake, one finding, at the setting that is wrong, with a fix."""
    (finding,) = check(settings(**sections))
    assert expected == finding.key
    assert finding.message
    assert finding.fix


@pytest.mark.requirement("B-01")
def test_the_proxy_is_a_confidential_client() -> None:
    """Without a client secret it does not start."""
    (finding,) = check(settings(provider={"client_secret": None}))
    assert not finding.warning
    assert "confidential client" in finding.message


@pytest.mark.requirement("B-04")
def test_https_rules_out_weaker_settings() -> None:
    """What is tolerable on loopback is refused where people are."""
    loopback = {"server": {"public_url": "http://localhost:8080"}}
    weak = {"session": {"same_site": "lax"}, "provider": {"issuer": "http://localhost:9000"}}
    assert [] == keys(**loopback, **weak)
    assert ["session.same_site", "provider.issuer"] == keys(**weak)
    plain = {"provider": {"token_endpoint": "http://localhost:9000/token"}}
    assert [] == keys(**loopback, **plain)
    assert ["provider.token_endpoint"] == keys(**plain)


@pytest.mark.parametrize(
    ("expected", "landing", "public"),
    [
        (["spa.auth"], "/", ()),
        (["spa.auth"], "/goodbye.html", ("/fonts/",)),
        ([], "/goodbye.html?from=here", ("/goodbye.html",)),
        ([], "/out/bye.html", ("/out/",)),
        ([], "/shop/goodbye.html", ("/goodbye.html",)),
    ],
)
def test_a_sign_out_that_signs_in_again_is_doubtful(
    expected: list[str], landing: str, public: tuple[str, ...]
) -> None:
    """The page behind it should need no session where the page does: a warning, for some want just that."""
    found = check(
        settings(
            server={"base_path": "/shop"} if landing.startswith("/shop") else {},
            spa={"dir": "dist", "auth": "required", "public": public},
            provider={"post_logout_path": landing},
        )
    )
    assert expected == [each.key for each in found]
    assert all(each.warning for each in found)


def test_an_embedded_redis_in_production_is_a_warning() -> None:
    """It works, and nobody should be surprised that restarts sign people out."""
    (finding,) = check(settings(redis={"url": "embedded"}))
    assert finding.warning


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        (["is missing"], []),
        (["example"], [EXAMPLE_KEY]),
        (["not 32 random bytes"], ["short"]),
        (["not 32 random bytes"], [KEY + "=="]),
        (["not 32 random bytes"], [KEY[:-1] + "9"]),  # another spelling of the same bytes
        (["not 32 random bytes"], [" " + KEY[1:]]),
        (["not 32 random bytes"], ["é" * 43]),
        (["not 32 random bytes"], ["A" * 43]),
        (["not 32 random bytes"], [base64.urlsafe_b64encode(bytes(range(16)) * 3).decode()]),
        (["key 2 of 2 stands there twice"], [KEY, KEY + "="]),
        (["key 1 of 3", "key 3 of 3"], ["short", KEY, "also short"]),
    ],
)
def test_bad_server_keys(expected: list[str], given: list[str]) -> None:
    """A key that is missing, known to everybody, guessable or misspelt is refused, and never shown."""
    findings = check(settings(session={"keys": given}))
    assert ["session.keys"] * len(expected) == [finding.key for finding in findings]
    for words, finding in zip(expected, findings, strict=True):
        assert words in finding.message
        assert not any(key in finding.message + finding.fix for key in given)


def test_one_list_of_own_parameters() -> None:
    """What the settings refuse is what the request builder reserves."""
    assert RESERVED == OWN_PARAMS


def test_what_a_route_may_let_through() -> None:
    """Methods with a hyphen, headers of the tables, and `Authorization` where no session is asked for."""
    passing = route(
        methods=["GET", "M-SEARCH", "PROPFIND", "QUERY"],
        pass_request_headers=["X-HTTP-Method-Override", "remote_user"],
        pass_response_headers=["X-Accel-Buffering"],
        challenges=["Bearer", "Hawk"],
    )
    open_to_all = route(
        path="/open", auth="none", pass_request_headers=["authorization"], challenges=["Basic"]
    )
    assert [] == check(settings(route=[passing, open_to_all]))
