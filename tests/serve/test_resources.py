"""What stands before anything is served."""

import socket
from contextlib import closing

import pytest

from bff.serve import resources as ground
from bff.serve.resources import CannotStartError, prepared
from bff.settings.model import Settings


def settings(host: str = "127.0.0.1", port: int = 0, workers: int = 2) -> Settings:
    return Settings.model_validate(
        {
            "server": {
                "public_url": "http://app.test",
                "host": host,
                "port": port,
                "ops_port": None,
                "workers": workers,
            },
            "provider": {"issuer": "http://localhost:1", "client_id": "x"},
        }
    )


def connects(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=60).close()
    except ConnectionError:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("spreads", [True, False])
def test_workers_share_a_port(host: str, spreads: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers' sockets stand on one port; connections are refused before the first and after the last."""
    if spreads and not ground.SPREADS:
        pytest.skip("SO_REUSEPORT spreads connections on Linux only")
    monkeypatch.setattr(ground, "SPREADS", spreads)
    with prepared(settings(host)) as stands:
        address = stands.listener.getsockname()[:2]
        assert not connects(address)
        with closing(stands.worker_socket()) as first, closing(stands.worker_socket()) as second:
            for own in (first, second):
                own.listen(8)
            assert {address} == {own.getsockname()[:2] for own in (first, second)}
            stands.listener.close()
            assert connects(address)
        assert not connects(address)


def test_a_held_port_is_taken() -> None:
    """While several workers hold a port, one or several of another service are refused."""
    with prepared(settings()) as stands:
        port = stands.listener.getsockname()[1]
        for workers in (1, 2):
            with (
                pytest.raises(CannotStartError, match="is in use"),
                prepared(settings(port=port, workers=workers)),
            ):
                pass
