"""The fields that tell a backend of the client and of the public origin."""

from typing import Any

import pytest

from bff.policy.forwarded_fields import ForwardedFields, client_fields, client_lines
from bff.policy.public_origin import PublicOrigin
from bff.settings.model import RouteSettings


def of(public_url: str = "https://a", **route: Any) -> ForwardedFields:
    settings = RouteSettings(path="/api", upstream="http://x", **route)
    return ForwardedFields.of(settings, PublicOrigin.parse(public_url))


@pytest.mark.parametrize(
    ("told", "route"),
    [(True, {}), (False, {"forwarded_prefix": False}), (False, {"strip_prefix": False})],
)
def test_the_prefix_is_told(told: bool, route: dict[str, Any]) -> None:
    """Where one was taken off the path, and the route does not say otherwise."""
    assert told is ((b"x-forwarded-prefix", b"/api") in of(**route).same)


@pytest.mark.requirement("B-17")
@pytest.mark.parametrize(
    ("client", "public_url", "forwarded"),
    [
        ("::1", "https://a", b'for="[::1]";host=a;proto=https'),
        ("unknown", "http://localhost:8080", b'for=unknown;host="localhost:8080";proto=http'),
    ],
)
def test_forwarded_syntax(client: str, public_url: str, forwarded: bytes) -> None:
    """IPv6 addresses and ports are quoted (RFC 7239 4)."""
    expected = (b"x-forwarded-for", client.encode()), (b"forwarded", forwarded)
    assert expected == client_fields(client, of(public_url).tail)


@pytest.mark.requirement("B-14")
@pytest.mark.parametrize("client", ["1.2.3.4", "2001:db8::1", "unknown"])
def test_the_lines_of_the_fast_path_say_the_same(client: str) -> None:
    """What a backend learns of the client is the same, byte for byte, as lines and as fields."""
    route = of()
    fields = *client_fields(client, route.tail), *route.same
    assert b"".join(b"%b: %b\r\n" % field for field in fields) == client_lines(client) + route.lines
