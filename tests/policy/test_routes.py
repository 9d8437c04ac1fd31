"""Which backend a path leads to, and which paths lead nowhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.policy.intern_pool import InternPool
from bff.policy.paths import path_problem, query_problem
from bff.policy.routes import (
    BadPath,
    Matched,
    NoRoute,
    RouteTable,
    Upstream,
    compile_route,
    method_allowed,
)
from bff.settings.model import RouteSettings

TABLE = RouteTable.from_settings(
    [
        RouteSettings(path="/api", upstream="http://backend:8000", strip_prefix=False),
        RouteSettings(path="/api/orders", upstream="http://orders:8000/v1"),
        RouteSettings(path="/files/", upstream="https://files.example/", methods=("GET",)),
        RouteSettings(path="/six", upstream="http://[::1]:81/a/b/", strip_prefix=False),
    ]
)


def test_equal_settings_make_one_table() -> None:
    """Frontends with the same routes share their table, and no others do: any setting tells them apart."""
    pool: InternPool[RouteTable] = InternPool()
    options = {"path": "/api", "upstream": "http://backend", "headers": {"X-User": "sub"}}

    def table(
        longest: int = 1024, own: bytes = b"/bff", beside: tuple[str, ...] = (), **more: object
    ) -> RouteTable:
        route = RouteSettings.model_validate({**options, **more})
        return RouteTable.from_settings([route], longest, own, beside, pool=pool)

    first = table()
    assert first is table()
    others = [
        table(headers={"X-User": "name"}),
        table(upstream="http://other"),
        table(longest=1025),
        table(own=b"/shop/bff"),
        table(beside=("/shop",)),
    ]
    assert 6 == len({first, *others})


def matched(path: bytes, table: RouteTable = TABLE) -> tuple[bytes, bytes] | None:
    """The Host and target of a match, None for no route."""
    match table.match(path):
        case Matched(route, target):
            return route.host_header, target
        case NoRoute():
            return None
        case BadPath(reason):
            pytest.fail(f"{path!r} refused: {reason}")


@pytest.mark.parametrize(
    ("path", "destination"),
    [
        (b"/api/orders", (b"orders:8000", b"/v1")),
        (b"/api/orders/", (b"orders:8000", b"/v1/")),
        (b"/api/orders/7", (b"orders:8000", b"/v1/7")),
        (b"/api/orders/7/", (b"orders:8000", b"/v1/7/")),
        (b"/api", (b"backend:8000", b"/api")),
        (b"/api/", (b"backend:8000", b"/api/")),
        (b"/api/orders2", (b"backend:8000", b"/api/orders2")),
        (b"/api/Orders", (b"backend:8000", b"/api/Orders")),
        (b"/files", (b"files.example", b"/")),
        (b"/files/", (b"files.example", b"/")),
        (b"/files/a.b.json", (b"files.example", b"/a.b.json")),
        (b"/files/...", (b"files.example", b"/...")),
        (b"/files/a;v=1/b,c@d!$&'()*+=:~", (b"files.example", b"/a;v=1/b,c@d!$&'()*+=:~")),
        (b"/files/100%25", (b"files.example", b"/100%25")),
        (b"/files/%25zz%2541", (b"files.example", b"/%25zz%2541")),
        (b"/files/caf%C3%A9%20au%3Flait%23", (b"files.example", b"/caf%C3%A9%20au%3Flait%23")),
        (b"/files/[1]|{2}", (b"files.example", b"/[1]|{2}")),
        (b"/six/x", (b"[::1]:81", b"/a/b/six/x")),
        (b"/", None),
        (b"/apis", None),
        (b"/API/orders", None),
        (b"/bff/user", None),
        (b"/assets/a.js", None),
    ],
)
def test_match(path: bytes, destination: tuple[bytes, bytes] | None) -> None:
    """The longest prefix of whole segments wins; its destination is the configured one."""
    assert destination == matched(path)


REFUSED = [
    b"", b"*", b"api", b"http://evil/api", b"//evil/api",
    b"/api//x", b"/api/x//", b"/api/.", b"/api/..", b"/api/../x",
    b"/api/./x", b"/../api", b"/.", b"/api/..;/x",
    b"/api/..;a=b/x", b"/api/.;x/y", b"/api/..%20/x", b"/api/%20.;/x",
    b"/api/;/x", b"/api/;a=b", b"/api\\x", b"/api/..\\x",
    b"/api#x", b"/api?x", b"/api/\x00", b"/api/\r\nX: y",
    b"/api/\x7f", b"/api/\t", b"/api/ x", b"/api/\xc3\xa9",
    b"/api/\xff", b"/api/%2e", b"/api/%2E%2e/x", b"/api/.%2e/x",
    b"/api/a%2ejson", b"/api%2fx", b"/api/%2Fx", b"/api/%5cx",
    b"/api/%5Cx", b"/api/%00", b"/api/%0d%0a", b"/api/%1f",
    b"/api/%7f", b"/api/%252e%252e/x", b"/api/%25252e",
    b"/api/%252fx", b"/api/%255c", b"/api/%2500", b"/api/%25%32%65",
    b"/api/%25%35%63", b"/api/..%3b/x", b"/api/..%3Ba=b/x",
    b"/api/%2525252525", b"/api/%", b"/api/%2", b"/api/%zz",
    b"/api/%u002e", b"/api/%c0%ae", b"/api/%c0%af",
    b"/api/%C1%9c", b"/api/%e0%80%ae", b"/api/%f0%80%80%ae",
    b"/api/%25c0%25ae",
]  # fmt: skip


@pytest.mark.requirement("B-12")
@pytest.mark.parametrize("path", REFUSED)
def test_refused(path: bytes) -> None:
    """A path that two parsers could read differently is refused, never repaired."""
    assert isinstance(TABLE.match(path), BadPath)


@pytest.mark.requirement("B-12")
@pytest.mark.parametrize(
    "path", [b"/api/%6frders/7", b"/api/orders;x/7", b"/%61pi/x", b"/api;x/y", b"/api/orders%3bx"]
)
def test_other_route_once_decoded(path: bytes) -> None:
    """A route's methods and rules cannot be avoided by a spelling that only the backend understands."""
    assert BadPath("another route once decoded") == TABLE.match(path)


@pytest.mark.requirement("B-12")
@given(
    st.lists(
        st.sampled_from(
            [b"/", b".", b"%", b"2", b"5", b"e", b"f", b"c", b"\\", b";", b"api", b"orders", b"#"]
        )
    )
)
def test_destination_stays_under_its_prefix(pieces: list[bytes]) -> None:
    """No combination of tricks gives a target outside of the upstream's prefix."""
    match TABLE.match(b"/api/orders" + b"".join(pieces)):
        case Matched(route, target) if route.path == b"/api/orders":
            assert b"/v1" == target[:3]
            assert target[3:4] in {b"", b"/"}
            assert not {b"..", b"."} & set(target.split(b"/"))
        case Matched(route, target):
            assert b"/api" == route.path == target[:4]
        case _:
            pass


def test_a_route_for_everything() -> None:
    """The route `/` takes every path that no other takes."""
    table = RouteTable.from_settings(
        [
            RouteSettings(path="/", upstream="http://web:81"),
            RouteSettings(path="/api", upstream="http://api"),
        ]
    )
    assert (b"web:81", b"/") == matched(b"/", table)
    assert (b"web:81", b"/x/y") == matched(b"/x/y", table)
    assert (b"api", b"/y") == matched(b"/api/y", table)
    assert table.covers(b"/anything")
    assert (b"web:81", b"/bffx/y") == matched(b"/bffx/y", table)
    for ours in (b"/bff", b"/bff/", b"/bff/user", b"/bff/a.b/c/"):
        assert matched(ours, table) is None


@pytest.mark.requirement("B-13")
def test_methods_are_literal() -> None:
    """Only the listed methods are allowed: GET does not bring HEAD along, and case matters."""
    route = compile_route(RouteSettings(path="/x", upstream="http://x", methods=("GET", "POST")))
    allowed = [
        method for method in (b"GET", b"HEAD", b"POST", b"get", b"DELETE") if method_allowed(route, method)
    ]
    assert [b"GET", b"POST"] == allowed
    assert b"GET, POST" == route.allow


@pytest.mark.parametrize(
    ("path", "own"),
    [
        (b"/bff", True),
        (b"/bff/", True),
        (b"/bff/user", True),
        (b"/bffx", False),
        (b"/", False),
        (b"/BFF", False),
    ],
)
def test_is_own(path: bytes, own: bool) -> None:
    """The proxy's own endpoints are `/bff` and what lies under it, below the base path."""
    assert own is TABLE.is_own(path)
    assert own is RouteTable([], own=b"/shop/bff").is_own(b"/shop" + path)
    assert not RouteTable([], own=b"/shop/bff").is_own(path)


def test_no_route_takes_our_own_paths_under_a_base_path() -> None:
    """The development page at the base path leaves our endpoints alone, on the plain way too."""
    page = RouteSettings(path="/shop", upstream="http://page:5173", strip_prefix=False)
    table = RouteTable.from_settings([page], own=b"/shop/bff")
    assert None is matched(b"/shop/bff/user", table)
    assert None is matched(b"/shop/bff", table)
    assert (b"page:5173", b"/shop/bffx") == matched(b"/shop/bffx", table)
    assert (b"page:5173", b"/shop/") == matched(b"/shop/", table)
    assert table.covers(b"/shop/BFF/user")


@pytest.mark.requirement("O-04")
@pytest.mark.parametrize(
    "path",
    [
        b"/bff", b"/bff/user", b"/BFF/user", b"/%62ff/user",
        b"/%2562ff", b"//bff/user", b"/\\bff", b"/./bff", b"/x/../bff",
        b"/x/%2e%2e/bff", b"/bff;x/user", b"/bff%2fuser", b"/bff?x",
        b"/bff#x", b"/ bff", b"/b\tff", b"\\bff", b"bff",
        b"/api", b"/api/orders/1?x=/y", b"/API", b"/x/..;/api", b"/%5Capi", b"/api%00", b"/files/x",
        b"/../../api", b"/%252525252525252562ff",
    ],
)  # fmt: skip
def test_covers(path: bytes) -> None:
    """What any reader could take for one of our endpoints or routes is covered."""
    assert TABLE.covers(path)


@pytest.mark.parametrize(
    "path",
    [
        b"/",
        b"",
        b"/apis",
        b"/bffs",
        b"/orders?next=/api",
        b"/#/api",
        b"/x/api",
        b"/b/ff",
        b"/b%ff",
        b"/100%25",
    ],
)
def test_does_not_cover(path: bytes) -> None:
    """Pages of the SPA are not covered, whatever their query or fragment says."""
    assert not TABLE.covers(path)


@pytest.mark.parametrize(
    ("query", "clean"),
    [
        (b"", True),
        (b"a=1&b=%0d%0a", True),
        (b"q=[a]{b}\\..//?", True),
        (b"a=1#b", False),
        (b"a b", False),
        (b"a\r\nb", False),
        (b"\x7f", False),
        (b"\xe9", False),
    ],
)
def test_query(query: bytes, clean: bool) -> None:
    """A query is passed on as it is, unless it could end or break the request line."""
    assert clean is (query_problem(query) is None)


@pytest.mark.parametrize(
    ("route", "problem"),
    [
        ({"path": "api"}, "route api: path: not an absolute path"),
        ({"path": "/a//b"}, "route /a//b: path: empty segment"),
        ({"path": "/a/../b"}, "path: dot segment"),
        ({"path": "/caf%C3%A9"}, "path: write it without % and ;"),
        ({"path": "/a;b"}, "path: write it without % and ;"),
        ({"path": "/bff"}, "path: /bff is the proxy's own"),
        ({"path": "/BFF/x"}, "path: /bff is the proxy's own"),
        ({"methods": ("GET", "TRACE")}, "methods: TRACE and CONNECT are never forwarded"),
        ({"upstream": "ftp://x"}, "upstream: write it like http://host:port/path"),
        ({"upstream": "http://"}, "upstream: write it like http://host:port/path"),
        ({"upstream": "http://u:p@x"}, "upstream: user, query and fragment have no place here"),
        ({"upstream": "http://x/?"}, "upstream: user, query and fragment have no place here"),
        ({"upstream": "http://x/a/../b"}, "upstream: dot segment"),
        ({"upstream": "http://x:99999"}, "upstream: Port out of range"),
        ({"upstream": "http://bücher"}, "upstream: not ASCII"),
    ],
)
def test_bad_settings(route: dict[str, object], problem: str) -> None:
    """A route that cannot be kept apart from another, or leads nowhere, is named with its fault."""
    settings = RouteSettings.model_validate({"path": "/x", "upstream": "http://x"} | route)
    with pytest.raises(ValueError, match=problem):
        RouteTable.from_settings([settings])


def test_same_path_twice() -> None:
    """Two routes of one path are a mistake, also when one has a slash at the end."""
    with pytest.raises(ValueError, match="same path"):
        RouteTable.from_settings([RouteSettings(path=path, upstream="http://x") for path in ("/a", "/a/")])


@pytest.mark.parametrize(
    ("upstream", "host"),
    [
        (Upstream("http", "a", 80), b"a"),
        (Upstream("https", "a", 80), b"a:80"),
        (Upstream("https", "a", 443), b"a"),
        (Upstream("http", "::1", 8000), b"[::1]:8000"),
    ],
)
def test_host_header(upstream: Upstream, host: bytes) -> None:
    """Host carries a port only where it is not the scheme's own."""
    assert host == upstream.host_header


def test_clean_path() -> None:
    """A plain path has no problem."""
    assert path_problem(b"/a/b.c") is None


UPSTREAM: dict[str, object] = {"upstream": "http://127.0.0.1:8000/v1"}
SOME_ROUTES: tuple[list[dict[str, object]], ...] = (
    [{"path": "/api"}, {"path": "/api/orders"}, {"path": "/b.c", "strip_prefix": False}],
    [{"path": "/"}, {"path": "/api", "double_slashes": True, "encoded_slashes": True}],
    [{"path": "/a", "upstream": "http://127.0.0.1:8000"}],
    [],
)
TABLES = [
    RouteTable.from_settings(
        [RouteSettings.model_validate(UPSTREAM | route) for route in routes], longest_path=40
    )
    for routes in SOME_ROUTES
]


PIECES = [
    *(b"/,/,/,api,API,orders,a,b.c,x,bff,~,_,-,@:,*,.x,x.".split(b",")),
    *(b".,..,...,;,;x,%2e,%2f,%41,\\,\xe9, ,//,\n".split(b",")),
]


@pytest.mark.requirement("B-12")
@given(st.lists(st.sampled_from(PIECES), max_size=9).map(b"".join))
def test_a_plain_path_is_matched_as_by_the_long_way(path: bytes) -> None:
    """One regular expression decides for most paths; it says what the rules say one by one, or nothing."""
    for table in TABLES:
        assert table._judge(path) == table.match(path)


def test_the_name_for_people() -> None:
    """A backend is called by host and port, or by its socket."""
    assert "orders:8000" == Upstream("http", "orders", 8000).name
    local = compile_route(RouteSettings(path="/a", upstream="http://unix:/run/a.sock:/v1/"))
    assert ("unix:/run/a.sock", b"localhost", b"/v1") == (
        local.upstream.name,
        local.host_header,
        local.upstream_path,
    )
    assert b"/v1/7" == local.target(b"/a/7")


@pytest.mark.requirement("B-12")
@pytest.mark.parametrize("path", [b"/%62ff/user", b"/b%66f", b"/bff;a=b/user"])
def test_our_own_endpoints_have_one_spelling(path: bytes) -> None:
    """What becomes one of ours only once it is decoded is refused."""
    table = RouteTable.from_settings([RouteSettings(path="/api", upstream="http://127.0.0.1:8000")])
    assert isinstance(table.match(path), BadPath)


@pytest.mark.requirement("O-04")
def test_the_taken_paths_can_be_listed() -> None:
    """The page's script gets the paths under which no page lies: ours and the routes', folded."""
    assert ["/bff", "/api/orders", "/files", "/api", "/six"] == TABLE.taken
