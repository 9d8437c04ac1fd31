"""The forms of `redis.url`."""

from pathlib import Path

import pytest

from bff.settings import redis_urls
from bff.settings.redis_urls import ClusterUrl, SentinelUrl

SENTINELS = "redis+sentinel://bff:p%40ss@a:26380,b,[::1]:26381/mymaster/2?sentinel_password=x%26y&health_check_interval=3"


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379/0",
        "redis://redis",
        "rediss://:secret@redis:6380/1",
        "unix:///run/redis.sock",
        "embedded",
        "redis+sentinel://a/mymaster",
        "rediss+sentinel://a,b,c/mymaster/0?ssl_ca_certs=/etc/ca.pem",
        SENTINELS,
        "redis+cluster://a",
        "rediss+cluster://bff:p%40ss@a,b:7000,[::1]:7001/0?ssl_ca_certs=/etc/ca.pem",
    ],
)
def test_good_redis_urls(url: str) -> None:
    """TCP, TLS, a socket, Sentinel, Cluster, or a private one."""
    assert None is redis_urls.redis_complaint(url)


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:6379", "http://redis", "redis://", "redis://redis:0", "redis://redis:hunter2", "redis://redis/x",
     "unix://", "redis://:p/hunter2@redis", "redis+cluster://", "redis+cluster://:hunter2@", "redis+cluster://a,:7000",
     "redis+cluster://a/1", "redis+cluster://a:hunter2", "unix+cluster://a", "redis://[::1", "sentinel://a/mymaster",
     "redis+sentinel://redis", "redis+sentinel://:hunter2@/m", "redis+sentinel://a:0/m", "redis+sentinel://a,/m",
     "redis+sentinel://a:hunter2/m", "redis+sentinel://a/m/x", "redis+sentinel://a/two words", "unix+sentinel://a/m"],
)  # fmt: skip
def test_bad_redis_urls(url: str) -> None:
    """Refused, without repeating what may hold a password."""
    complaint = redis_urls.redis_complaint(url)
    assert complaint is not None
    assert "hunter2" not in "".join(complaint)


def test_the_parts_of_a_sentinel_url() -> None:
    """What is said to Sentinels is not said to the master, and the other way round."""
    assert SentinelUrl(
        sentinels=(("a", 26380), ("b", 26379), ("::1", 26381)),
        master="mymaster",
        server="redis://bff:p%40ss@sentinel/2?health_check_interval=3",
        sentinel_username=None,
        sentinel_password="x&y",
    ) == SentinelUrl.parse(SENTINELS)
    assert None is SentinelUrl.parse("redis://a/0")


def test_the_parts_of_a_cluster_url() -> None:
    """The servers that are named, and what each server is told."""
    url = "redis+cluster://bff:p%40ss@a,[::1]:7001?health_check_interval=3"
    server = "redis://bff:p%40ss@cluster/0?health_check_interval=3"
    assert ClusterUrl((("a", 6379), ("::1", 7001)), server) == ClusterUrl.parse(url)
    assert None is ClusterUrl.parse("redis://a/0")


def test_what_people_and_logs_are_told() -> None:
    """Hosts and name, without user and password."""
    assert "redis+sentinel://a:26380,b:26379,::1:26381/mymaster" == redis_urls.redis_target(SENTINELS)
    assert "redis+cluster://a:6379,b:7001" == redis_urls.redis_target("redis+cluster://u:secret@a,b:7001/0")
    assert "rediss://redis:6380/1" == redis_urls.redis_target("rediss://:secret@redis:6380/1")


def test_the_files_of_tls() -> None:
    """Those of the servers' connections count under Sentinel and in a cluster, too."""
    for servers in ("rediss+sentinel://a/mymaster/0", "rediss+cluster://a,b", "rediss://a/0"):
        url = f"{servers}?ssl_ca_certs=/etc/ca.pem&sentinel_password=x"
        assert {"ca": Path("/etc/ca.pem")} == redis_urls.redis_tls_files(url)
    assert {} == redis_urls.redis_tls_files("redis+cluster://a?ssl_ca_certs=/etc/ca.pem")
