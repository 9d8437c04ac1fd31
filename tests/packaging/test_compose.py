"""`compose.yaml`: its services run by hand, without an engine: the same commands, variables, files."""

import os
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from bff.embedded import find_redis, free_port
from tests.structure.source import ROOT
from tests.support.network.nginx import running_nginx
from tests.support.processes.forked import BARE
from tests.support.providers.issuer import sign_in_at

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
PORTS = {"6379": free_port(), "443": free_port(), "9443": free_port()} | {
    name: free_port() for name in ("8080", "9000", "8000", "9090")
}


def placed(text: str, state: Path) -> str:
    """A value of the file, with this machine's paths and free ports."""
    for there, here in {
        "/state": str(state),
        "/opt/bff/demo/demo.toml": str(ROOT / "config" / "demo.toml"),
        "/opt/bff/demo/page": str(ROOT / "bff" / "demo" / "page"),
        "/etc/redis": str(ROOT / "config"),
        "redis:6379": f"127.0.0.1:{PORTS['6379']}",
        "//localhost:9443": f"//localhost:{PORTS['9443']}",
        "//localhost/": f"//localhost:{PORTS['443']}/",
        "listen 443": f"listen 127.0.0.1:{PORTS['443']}",
        "listen 9443": f"listen 127.0.0.1:{PORTS['9443']}",
        "127.0.0.1:8080": f"127.0.0.1:{PORTS['8080']}",
        "127.0.0.1:9000": f"127.0.0.1:{PORTS['9000']}",
    }.items():
        text = text.replace(there, here)
    if text == "https://localhost":
        return f"https://localhost:{PORTS['443']}"
    return str(PORTS[text]) if text in {"8000", "9000"} else text


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A browser at the page of the running set."""
    state = tmp_path_factory.mktemp("state")
    extra = {
        "bff": {
            "BFF_SERVER__PORT": str(PORTS["8080"]),
            "BFF_SERVER__OPS_PORT": str(PORTS["9090"]),
            "BFF_ROUTE": f'[{{"path": "/api", "upstream": "http://127.0.0.1:{PORTS["8000"]}"}}]',
        }
    }
    with ExitStack() as stack:
        script = COMPOSE["services"]["keys"]["command"][2].replace("/state", str(state))
        script = "\n".join(line for line in script.splitlines() if not line.startswith("chown"))
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        subprocess.run(["sh", "-ec", script], env=BARE | {"PATH": path}, check=True, timeout=60)

        def start(command: list[str], variables: dict[str, str], log: str) -> None:
            out = stack.enter_context((state / log).open("wb"))
            child = subprocess.Popen(command, cwd=state, env=BARE | variables, stdout=out, stderr=out)
            stack.callback(child.wait, 60)
            stack.callback(child.terminate)

        redis = [placed(word, state) for word in COMPOSE["services"]["redis"]["command"]][1:]
        redis[redis.index("--bind") + 1] = "127.0.0.1"
        start([*find_redis().command, *redis, "--port", str(PORTS["6379"])], {}, "redis.log")
        nginx = (ROOT / "config" / "compose" / "nginx.conf").read_text().replace("pid /tmp/nginx.pid;", "")
        nginx = re.sub(r"(_temp_path +)/tmp/", rf"\1{state}/", placed(nginx, state))
        stack.enter_context(running_nginx(state, nginx))
        for name in ("issuer", "api", "bff"):
            service = COMPOSE["services"][name]
            words = [placed(word, state) for word in service["command"]]
            variables = {key: placed(value, state) for key, value in service["environment"].items()}
            start([sys.executable, "-m", *words], variables | extra.get(name, {}), f"{name}.log")
        client = stack.enter_context(
            httpx.Client(
                base_url=f"https://localhost:{PORTS['443']}",
                verify=ssl.create_default_context(cafile=state / "tls.pem"),
                follow_redirects=True,
                timeout=60,
            )
        )
        _wait(client, state)
        yield client


def _wait(client: httpx.Client, state: Path) -> None:
    deadline = time.monotonic() + 120
    urls = (
        f"https://localhost:{PORTS['443']}/",
        f"https://localhost:{PORTS['9443']}/.well-known/openid-configuration",
        f"http://127.0.0.1:{PORTS['8000']}/healthz",
    )
    while time.monotonic() < deadline:
        try:
            if all(client.get(url).status_code == 200 for url in urls):
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    raise AssertionError("\n".join(path.read_text()[-2000:] for path in state.glob("*.log")))


def test_the_demo_works_behind_tls(page: httpx.Client) -> None:
    """Sign-in at the https issuer, then a call that the API takes; three accounts on one Redis."""
    form = page.get("/bff/login", headers={"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"})
    assert 200 == form.status_code, form.text
    answer = sign_in_at(form, page)
    page.get(answer.headers["location"])
    landed = page.get("/bff/callback/finish", headers={"Sec-Fetch-Site": "same-origin"})
    assert 200 == landed.status_code, landed.text
    orders = page.get("/api/orders", headers={"X-CSRF": "1"})
    assert 200 == orders.status_code, orders.text
    assert 401 == page.get(f"http://127.0.0.1:{PORTS['8000']}/orders").status_code


def test_every_service_is_confined() -> None:
    """No root, no capability, a read-only root; and each file that is mounted exists."""
    for name, service in COMPOSE["services"].items():
        if name != "keys":
            assert service["read_only"], name
            assert ["no-new-privileges:true"] == service["security_opt"]
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
    assert ["127.0.0.1:443:443", "127.0.0.1:9443:9443"] == COMPOSE["services"]["nginx"]["ports"]
