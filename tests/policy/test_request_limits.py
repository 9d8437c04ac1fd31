"""The limits of requests, as the settings say them."""

from bff.policy.request_limits import RequestLimits
from bff.settings.model import ServerSettings

SERVER = ServerSettings(public_url="https://App.example.com", head_timeout=3)


def test_the_limits_of_one_server() -> None:
    """Its host is the one of `public_url`, in either spelling of the port; times are seconds."""
    limits = RequestLimits.configured(SERVER, asking_hosts=["Proxy.internal:8080"])
    assert b"https" == limits.scheme
    assert frozenset({b"app.example.com", b"app.example.com:443"}) == limits.hosts
    assert frozenset({b"proxy.internal:8080"}) == limits.asking_hosts
    assert (3, SERVER.max_head_bytes) == (limits.head_timeout, limits.max_head_bytes)


def test_the_hosts_of_several_frontends() -> None:
    """The hosts of all frontends take the place of the server's own."""
    hosts = frozenset({b"one.example.com", b"two.example.com"})
    assert hosts == RequestLimits.configured(SERVER, hosts=hosts).hosts
