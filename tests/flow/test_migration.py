"""The switch from another server to bff, behind a real nginx with the file as it is shipped."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from bff.embedded import free_port
from tests.structure.source import ROOT
from tests.support.network.nginx import listens, running_nginx
from tests.support.wait import until

OWN = "__Host-Http-bff=new"
FORMER = "io.nais.wonderwall.session=old"


@pytest.fixture(name="front")
async def _front(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The shipped file without TLS, before two servers that say who they are."""
    port, bff, former = free_port(), free_port(), free_port()
    text = (ROOT / "config" / "migration" / "nginx.conf").read_text(encoding="utf-8")
    for example, own in {
        "listen 443 ssl http2": f"listen 127.0.0.1:{port}",
        "127.0.0.1:8080": f"127.0.0.1:{bff}",
        "127.0.0.1:3000": f"127.0.0.1:{former}",
        "worker_processes auto": "worker_processes 1",
    }.items():
        assert example in text
        text = text.replace(example, own)
    lines = [line for line in text.splitlines() if not line.strip().startswith("ssl_")]
    last = max(number for number, line in enumerate(lines) if line == "}")
    lines[last] = f"""
        server {{ listen 127.0.0.1:{bff}; return 200 bff; }}
        server {{
            listen 127.0.0.1:{former};
            location / {{ return 200 former; }}
            location /over {{ return 302 https://id.example.com/authorize?client_id=former; }}
            location /sign-out {{ return 302 https://id.example.com/logout; }}
        }}
    }}"""
    with running_nginx(tmp_path, "\n".join(lines)) as process:
        await until(lambda: listens(port) or process.poll() is not None)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            yield client


@pytest.mark.parametrize(
    ("cookies", "server"),
    [
        ("", "bff"),
        ("theme=dark", "bff"),
        (FORMER, "former"),
        (f"theme=dark; {FORMER}", "former"),
        (f"{FORMER}; {OWN}", "bff"),
        (f"x{FORMER}", "bff"),
    ],
)
async def test_each_browser_stays_where_its_session_is(
    front: httpx.AsyncClient, cookies: str, server: str
) -> None:
    """By its cookies; with both it has signed in at bff since."""
    assert server == (await front.get("/api/orders", headers={"Cookie": cookies})).text


async def test_the_endpoints_of_bff_are_its_own(front: httpx.AsyncClient) -> None:
    """Whatever cookie comes."""
    assert "bff" == (await front.get("/bff/user", headers={"Cookie": FORMER})).text


async def test_who_signs_in_again_does_so_at_bff(front: httpx.AsyncClient) -> None:
    """A former session that is over is not begun anew there; a sign-out at the former server stays one."""

    async def sent_to(path: str) -> str:
        return (await front.get(path, headers={"Cookie": FORMER})).headers["location"]

    assert "/bff/login?return_to=/over/7" == (await sent_to("/over/7?page=2&x=1")).removeprefix(
        str(front.base_url)
    )
    assert "https://id.example.com/logout" == await sent_to("/sign-out")
    assert (await sent_to("/oauth2/login?redirect=%2Forders")).endswith("/bff/login?return_to=%2Forders")
    assert (await sent_to("/oauth2/start?rd=%2Forders")).endswith("/bff/login?return_to=%2Forders")


async def test_a_path_cannot_write_into_the_answer(front: httpx.AsyncClient) -> None:
    """A line end in the path stays encoded in the `Location`."""
    answer = await front.get("/over/%0d%0aSet-Cookie:%20a=b", headers={"Cookie": FORMER})
    assert answer.headers["location"].endswith("return_to=/over/%0d%0aSet-Cookie:%20a=b")
    assert "set-cookie" not in answer.headers
