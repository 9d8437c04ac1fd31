"""The limits of requests, as the settings say them."""

from bff.policy.allowed_hosts import AllowedHosts
from bff.policy.request_limits import RequestLimits
from bff.settings.model import ServerSettings

SERVER = ServerSettings(public_url="https://App.example.com", head_timeout=3)


def test_the_limits_of_one_server() -> None:
    """Times are seconds; the hosts are those that a request may name."""
    limits = RequestLimits.configured(SERVER, asking_hosts=["Proxy.internal:8080"])
    assert AllowedHosts.configured(SERVER, ["Proxy.internal:8080"]) == limits.hosts
    assert (3, SERVER.max_head_bytes) == (limits.head_timeout, limits.max_head_bytes)
