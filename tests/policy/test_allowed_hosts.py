"""The hosts that a request may name."""

import pytest

from bff.policy.allowed_hosts import AllowedHosts
from bff.policy.forward_auth_request import FORWARD_AUTH
from bff.settings.model import ServerSettings

SERVER = ServerSettings(public_url="https://App.example.com")
HOSTS = AllowedHosts.configured(SERVER, ["Proxy.internal:8080"])


def test_the_hosts_of_one_server() -> None:
    """Its host is the one of `public_url`, in either spelling of the port."""
    assert b"https" == HOSTS.scheme
    assert frozenset({b"app.example.com", b"app.example.com:443"}) == HOSTS.names
    assert frozenset({b"proxy.internal:8080"}) == HOSTS.asking
    assert HOSTS.advice().startswith("this is app.example.com: ")
    assert HOSTS.home() == "https://app.example.com/"


def test_the_hosts_of_several_frontends() -> None:
    """The hosts of all frontends take the place of the server's own."""
    names = frozenset({b"one.example.com", b"two.example.com"})
    assert names == AllowedHosts.configured(SERVER, names=names).names


@pytest.mark.parametrize(
    ("host", "path", "allowed"),
    [
        (b"app.example.com", b"/", True),
        (b"APP.example.com:443", b"/", True),
        (b"app.example.com:8443", b"/", False),
        (b"other.example", b"/", False),
        (b"proxy.internal:8080", b"/", False),
        (b"Proxy.internal:8080", FORWARD_AUTH, True),
        (b"other.example", FORWARD_AUTH, False),
    ],
)
def test_a_host_that_may_be_named(host: bytes, path: bytes, allowed: bool) -> None:
    """Our own hosts, in any case of letters; at the address of forward-auth a proxy's names for us too."""
    assert allowed is HOSTS.allows(host, path)


def test_the_origin_that_a_target_may_name() -> None:
    """An absolute target names one of ours with its scheme."""
    assert HOSTS.allows_target(b"https", b"app.example.com")
    assert not HOSTS.allows_target(b"http", b"app.example.com")
    assert not HOSTS.allows_target(b"https", b"proxy.internal:8080")


def test_two_spellings_of_a_host() -> None:
    """The scheme's own port may be named or left out; any other tells two hosts apart."""
    plain = AllowedHosts(b"http", frozenset({b"shop"}))
    assert HOSTS.are_same(b"app.example.com", b"App.Example.com:443")
    assert not HOSTS.are_same(b"app.example.com", b"app.example.com:80")
    assert plain.are_same(b"shop", b"shop:80")
    assert not plain.are_same(b"shop", b"shop:443")
