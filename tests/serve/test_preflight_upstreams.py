"""What `bff check` says about backends that are not plain TCP."""

from pathlib import Path
from typing import Any

from bff.policy.routes import compile_route
from bff.serve.check_plan import BackendLook
from bff.serve.preflight import _backend, _target
from bff.settings.model import RouteSettings
from tests.support.network.backend import Conversation, raw_backend
from tests.support.network.tls import self_signed, server_tls


async def held(conversation: Conversation) -> None:
    await conversation.closed()


async def look(**settings: Any) -> tuple[str, bool, str]:
    route = RouteSettings.model_validate({"path": "/api", **settings})
    upstream = compile_route(route).upstream
    (check,) = await _backend(BackendLook(upstream, route, is_page=False, frontend=""))
    assert _target(upstream) == check.target
    assert ("certificate is refused" in check.detail) == ("route.ca_file" in check.fix)
    return check.target, check.ok, check.detail


async def test_a_unix_socket(tmp_path: Path) -> None:
    """It is named by its path, and said to be there or not."""
    path = tmp_path / "s"
    async with raw_backend(held, socket=path) as b:
        assert (f"unix:{path}", True, "connected") == await look(upstream=b.url)
        await b.until(lambda: b.connections == 1 and not b.open)
    path.unlink(missing_ok=True)
    target, good, detail = await look(upstream=f"http://unix:{path}:/v1")
    assert (f"unix:{path}", False, True) == (target, good, "there is no such socket" in detail)


async def test_a_backend_with_its_own_authority(tmp_path: Path) -> None:
    """The route's CA, name and client certificate are what is tried."""
    certificate, ours = self_signed(tmp_path), self_signed(tmp_path, "bff.internal")
    async with raw_backend(held, tls=server_tls(certificate, clients=ours)) as b:
        url = f"https://127.0.0.1:{b.port}"
        _, good, detail = await look(upstream=url)
        assert (False, True) == (good, "certificate is refused" in detail)
        known = {"ca_file": certificate.cert, "client_cert_file": ours.cert, "client_key_file": ours.key}
        assert (True, "connected, certificate good") == (await look(upstream=url, **known))[1:]
        await b.until(lambda: b.connections == 1 and not b.open)
        _, good, detail = await look(upstream=url, server_name="other.example", **known)
        assert (False, True) == (good, "certificate is refused" in detail)
