"""The parts of fast calls that frontends share, and those that stay a frontend's own."""

from typing import Any, cast
from unittest import mock

import pytest

from bff.app import App
from bff.policy.routes import Matched, RouteTable
from bff.proxy.forward.fast_path import FastCall, FastPath
from bff.proxy.forward.fast_route import FastRoute
from bff.proxy.forward.traced_calls import TracedFastCall
from bff.proxy.server.plain_request import PlainRequest
from bff.session.cached_session import CachedSession
from bff.settings.model import Settings

KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"
ONE, OTHER = "https://one.example.com", "https://other.example.com"


def running(**of_other: Any) -> App:
    """An application with two frontends, which differ in what is given."""
    route = {"path": "/api", "upstream": "http://127.0.0.1:1/v1"}
    return App(
        Settings.model_validate(
            {
                "server": {"public_url": "https://www.example.com", "trusted_proxies": ["192.0.2.0/24"]},
                "redis": {"url": "redis://127.0.0.1:1/0"},
                "session": {"keys": [KEY]},
                "provider": {"issuer": "https://id.example.com", "client_id": "bff", "client_secret": "s"},
                "frontend": [
                    {"name": "one", "public_url": ONE, "route": [route]},
                    {"name": "other", "public_url": OTHER, "route": [{**route, **of_other}]},
                ],
            }
        ),
        clock=lambda: 0.0,
    )


def fast_routes(**of_other: Any) -> list[FastRoute]:
    """The routes of such frontends."""
    return routes_of(running(**of_other))


def routes_of(app: App) -> list[FastRoute]:
    return [each for front in app.frontends.every for each in front.forwarding.fast_path._by_number if each]


class Idle:
    """A connection that carries nothing, and a session that every cookie leads to."""

    closing = staticmethod(lambda: False)
    key = "k"


def signed(route: FastRoute, made: PlainRequest) -> bool | None:
    """True where a request of this route is fast and has its session, None where it is not fast."""
    path = FastPath.__new__(FastPath)
    path._by_number, path._calls = (route,), FastCall
    path._routes = RouteTable([route.shared.route])
    idle = mock.Mock(return_value=Idle())
    with (
        mock.patch.object(route.shared.pool, "acquire_nowait", idle),
        mock.patch.object(type(route.credentials), "ready", idle),
    ):
        call = path.begin(made, "192.0.2.1", cast("Any", None))
    return None if call is None else call.ready is not None


def request(*, origin: str | None, method: bytes = b"POST", csrf: bool = True) -> PlainRequest:
    made = PlainRequest()
    made.path, made.cookie = b"/api/x", b"a=b"
    made.method, made.guarded = method, [(b"x-csrf", b"1")] if csrf else []
    made.origin = None if origin is None else origin.encode()
    made.body, made.addresses, made.authorized = b"", (), False
    return made


def test_frontends_that_are_alike_share_what_is_alike() -> None:
    """Their routes differ in nothing that a call's head, its limits or its verdict are made of."""
    one, other = fast_routes()
    assert one.shared is other.shared
    assert one.forwarding_end != other.forwarding_end
    assert one.credentials is not other.credentials
    assert not set(one.requests) & set(other.requests)


@pytest.mark.parametrize(
    "different",
    [
        {"upstream": "http://127.0.0.1:2/v1"},
        {"upstream": "http://127.0.0.1:1/v2"},
        {"methods": ["GET"]},
        {"auth": "none"},
        {"csrf": "navigation"},
        {"max_body": 4},
        {"keep_cookies": True},
        {"headers": {"X-User": "sub"}},
    ],
)
def test_routes_that_differ_share_nothing(different: dict[str, Any]) -> None:
    """A setting that decides about a call keeps the routes of two frontends apart."""
    one, other = fast_routes(**different)
    assert one.shared is not other.shared


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_a_shared_verdict_lets_no_other_origin_in(method: bytes) -> None:
    """A page of one frontend is no page of another, also where the verdict on its fields is known."""
    one, other = fast_routes()
    for _ in range(2):
        assert signed(one, request(origin=ONE, method=method)) is True
        assert signed(other, request(origin=ONE, method=method)) is None
        assert signed(other, request(origin=OTHER, method=method)) is True
        assert signed(one, request(origin=OTHER, method=method)) is None
        assert signed(one, request(origin="null", method=method)) is None
        assert signed(one, request(origin=None, method=method)) is True
        assert signed(other, request(origin=OTHER, method=method, csrf=False)) is None


def test_verdicts_are_bounded() -> None:
    """Clients choose the fields of which verdicts are kept."""
    _, route = fast_routes(auth="none")
    for number in range(1000):
        made = request(origin=None)
        made.guarded = [(b"sec-fetch-site", b"%d" % number)]
        assert signed(route, made) is False
    assert all(
        len(known) <= 64
        for method in route.shared.methods.values()
        for known in (method.plain, method.of_own_page)
    )


@pytest.mark.requirement("H-15")
def test_a_clients_own_copies_of_what_a_route_sets_are_left_out() -> None:
    """However they are spelt and wherever they stand; the other lines pass, also those of a block."""
    app = running(headers={"X-User": "sub"})
    _, route = routes_of(app)
    browsers = [b"User-Agent: A", b"Accept: */*", b"Sec-GPC: 1", b"Accept-Language: en"]
    forged = [b"X-User: root", b"x_user: root", b"x-USER:root"]
    made = [
        [*browsers, b"Cookie: a=b", b"X-Own: 1"],
        [*browsers, *forged, b"X-Own: 1"],
        [*forged, *browsers, b"X-Own: 1"],
        [*browsers[:2], *forged, *browsers[2:], b"X-Own: 1"],
    ]
    passed = [b"accept-language: en", b"accept: */*", b"sec-gpc: 1", b"user-agent: A", b"x-own: 1"]
    for fields in made * 4 + made[:1] * 4:
        head = b"\r\n".join([b"GET /api/x HTTP/1.1", b"Host: other.example.com", *fields, b"", b""])
        read = app.in_force.lines.read(head)
        assert read is not None
        assert passed == sorted(b"".join(route.passing(read)).split(b"\r\n")[:-1])


@pytest.mark.requirement("P-01")
def test_a_place_leads_to_the_frontend_of_the_moment() -> None:
    """Lines that are known already lead to other frontends once these are in force."""
    app = running()
    main, one, other = (each.forwarding for each in app.frontends.every)
    expected = [("www", main), ("one", one), ("other", other), ("OTHER", other)]
    for in_force in (expected, [(host, one) for host, _ in expected]):
        for host, forwarding in in_force * 3:
            head = b"GET /api/x HTTP/1.1\r\nHost: %b.example.com\r\nAccept: */*\r\n\r\n" % host.encode()
            read = app.in_force.lines.read(head)
            assert read is not None
            assert forwarding.fast_path is read.place.fast_path
        app.in_force.replace(one, app.in_force.lines)


@pytest.mark.parametrize("made_anew", [PlainRequest, CachedSession, Matched, FastCall, TracedFastCall])
def test_what_is_made_for_each_call_has_slots(made_anew: type) -> None:
    """A class whose instances differ in what they have costs a dictionary for each call, unseen."""
    assert 0 == made_anew.__dictoffset__
