"""Unusual paths: what a route opts in to, what the page gets, and what judging costs."""

import pytest

from bff.policy import paths
from bff.policy.paths import LENIENT, STRICT, PathRules, path_problem, readings
from bff.policy.routes import BadPath, Matched, NoRoute, RouteTable
from bff.settings.model import RouteSettings

TABLE = RouteTable.from_settings(
    [
        RouteSettings(path="/gitlab", upstream="http://gitlab/", encoded_slashes=True),
        RouteSettings(path="/gitlab/api/v4/admin", upstream="http://admin/", encoded_slashes=True),
        RouteSettings(path="/s3", upstream="http://s3/store", double_slashes=True),
        RouteSettings(path="/s3/private", upstream="http://private/"),
        RouteSettings(path="/both", upstream="http://both/", encoded_slashes=True, double_slashes=True),
        RouteSettings(path="/plain", upstream="http://plain/"),
    ]
)
ENCODED = "encoded dot, slash, backslash or control character"


@pytest.mark.requirement("B-12")
@pytest.mark.parametrize(
    ("path", "target"),
    [
        (
            b"/gitlab/api/v4/projects/group%2Fproject/issues",
            b"/api/v4/projects/group%2Fproject/issues",
        ),
        (b"/gitlab/api/v4/projects/a%2fb%2Fc.d", b"/api/v4/projects/a%2fb%2Fc.d"),
        (b"/gitlab/api/queues/%2F/orders", b"/api/queues/%2F/orders"),
        (b"/gitlab/api/queues/%2f", b"/api/queues/%2f"),
        (b"/gitlab/x/a%5Cb", b"/x/a%5Cb"),
        (b"/gitlab/x/a%252Fb", b"/x/a%252Fb"),
        (b"/s3/bucket//key", b"/store/bucket//key"),
        (b"/s3/bucket/a///b//", b"/store/bucket/a///b//"),
        (b"/s3//bucket", b"/store//bucket"),
        (b"/both/a//b%2F%2Fc", b"/a//b%2F%2Fc"),
    ],
)
def test_what_a_route_opts_in_to_is_passed_on_as_sent(path: bytes, target: bytes) -> None:
    """Encoded and double slashes of real APIs reach a backend whose route says so, byte for byte."""
    found = TABLE.match(path)
    assert isinstance(found, Matched)
    assert target == found.target


@pytest.mark.requirement("B-12")
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (b"/plain/a%2Fb", ENCODED),
        (b"/plain/a%5Cb", ENCODED),
        (b"/plain/a//b", "empty segment"),
        (b"/s3/a%2Fb", ENCODED),
        (b"/gitlab/a//b", "empty segment"),
        (b"/gitlab/a%2F..%2Fb", "dot segment"),
        (b"/gitlab/a%2F..", "dot segment"),
        (b"/gitlab/a%2F.%2Fb", "dot segment"),
        (b"/gitlab/a%5C..%5Cb", "dot segment"),
        (b"/gitlab/a%252F..%252Fb", "dot segment"),
        (b"/gitlab/a%2F..;x/b", "dot segment"),
        (b"/gitlab/a%2F..%3Bx/b", "dot segment"),
        (b"/gitlab/a%2F%2e%2e%2Fb", ENCODED),
        (b"/gitlab/a%2F%252e%252e", ENCODED),
        (b"/gitlab/a%2Fb%00", ENCODED),
        (b"/gitlab/a%2Fb%c0%af", "overlong UTF-8"),
        (b"/gitlab/a\\b", "character that must be encoded"),
        (b"/s3/a//../b", "dot segment"),
        (b"/s3/a//..;/b", "dot segment"),
        (b"//s3/a", "empty segment"),
        (b"/both//evil", "two slashes at the beginning, once the route's path is taken away"),
        (b"/gitlab/api%2Fv4%2Fadmin/x", "another route once decoded"),
        (b"/gitlab/api/v4%2Fadmin", "another route once decoded"),
        (b"/gitlab/api%252Fv4/admin", "another route once decoded"),
        (b"/gitlab/api%5Cv4%5Cadmin", "another route once decoded"),
        (b"/gitlab/api/v4/%2Fadmin", "another route once decoded"),
        (b"/gitlab%2Fapi/v4/admin", ENCODED),
        (b"/s3//private/x", "another route once decoded"),
        (b"/s3;x//private", "empty segment"),
        (b"/x/..%2Fplain", ENCODED),
    ],
)
def test_what_is_refused_with_every_option(path: bytes, reason: str) -> None:
    """No option lets dots through, nor a spelling by which one route's rules are left for another's."""
    found = TABLE.match(path)
    assert isinstance(found, BadPath)
    assert reason == found.reason


@pytest.mark.parametrize(
    "path", [b"/blog/a%2Fb", b"/x//y", b"/x//y//", b"/blog/a%5Cb", b"/blog/a%252Fb", b"/x/%2F/y"]
)
def test_unusual_paths_of_the_page_are_no_routes(path: bytes) -> None:
    """A page's own path with `//` or an encoded slash is not refused: nobody else could be meant."""
    assert isinstance(TABLE.match(path), NoRoute)


@pytest.mark.requirement("B-12")
@pytest.mark.parametrize(
    "path",
    [
        b"/x//../plain/y", b"/%2Fplain/x", b"/.%2Fplain", b"/x%2F..%2Fplain", b"/plain%2Fx", b"/PLAIN%2Fx",
        b"/bff%2Fuser", b"/%2Fbff/user", b"/x//..", b"//x", b"//plain/x", b"/x%2F..", b"/x/%2e%2e/y",
        b"/x//%00", b"/x//%c0%af", b"/x//%zz", b"/%5Cplain", b"/;//plain",
    ],
)  # fmt: skip
def test_what_could_be_a_route_is_no_page(path: bytes) -> None:
    """A path that any reader could take for a route's or ours, or that climbs, stays refused."""
    assert isinstance(TABLE.match(path), BadPath)


@pytest.mark.requirement("H-12")
def test_a_path_has_a_limit() -> None:
    """The length is looked at first; the limit is the one that was set."""
    table = RouteTable.from_settings([RouteSettings(path="/api", upstream="http://api")], 100)
    assert isinstance(table.match(b"/api/" + b"x" * 95), Matched)
    assert BadPath("longer than 100 bytes") == table.match(b"/api/" + b"x" * 96)
    assert BadPath("longer than 100 bytes") == table.match(b"/page" + b"x" * 96)


@pytest.mark.requirement("H-12")
@pytest.mark.parametrize(
    "unit", [b"%41", b"a%41", b"%2541", b"%252541", b"%25", b"%2F", b"/", b"a/", b";/", b" ", b"%20", b"/.a"]
)
@pytest.mark.parametrize("rules", [STRICT, LENIENT])
def test_judging_takes_few_passes(monkeypatch: pytest.MonkeyPatch, unit: bytes, rules: PathRules) -> None:
    """The longest path is decoded a few times at most, whatever stands in it."""
    passes: list[int] = []
    decode = paths._decoded

    def counted(path: bytes) -> bytes:
        passes.append(len(path))
        return decode(path)

    monkeypatch.setattr(paths, "_decoded", counted)
    path = b"/nope/" + unit * (8 * 1024)
    path_problem(path[:8192], rules)
    assert 4 >= len(passes)
    table = RouteTable.from_settings(
        [RouteSettings(path="/nope", upstream="http://x", encoded_slashes=rules[0], double_slashes=rules[1])]
    )
    passes.clear()
    table.match(path)
    assert [] == passes
    table.match(path[:8192])
    assert 4 * 4 >= len(passes)


@pytest.mark.requirement("H-12")
def test_a_path_has_few_readings() -> None:
    """However deep a path is encoded, it is read a few times only: a call with it is refused anyway."""
    path = b"/a//%" + b"25" * 50 + b"41"
    assert "encoded too often" == path_problem(path, LENIENT)
    assert 8 == len(list(readings(path, LENIENT)))
