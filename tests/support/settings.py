"""Settings files for tests, written into the working directory, and what is wrong with them."""

import base64
from pathlib import Path
from typing import Any

import pytest

from bff.settings.load import load
from bff.settings.model import RedisSettings
from bff.settings.problem import SettingProblem, SettingsError
from tests.support import wait

KEY = base64.urlsafe_b64encode(bytes(range(32))).decode().rstrip("=")
OTHER = base64.urlsafe_b64encode(bytes(range(100, 132))).decode().rstrip("=")

PATIENCE = wait.PATIENCE
"""Seconds that Redis may take for an answer: a silent one gets less, for a test waits no longer itself."""

WAITS = {"connect_timeout": 60, "queue_timeout": 60}
"""The waits of a route for its backend, of which a busy machine makes no outage."""

PATIENT = {"BFF_REDIS__TIMEOUT": f"{PATIENCE:g}s"}
"""The same, for a process that reads its environment."""

GOOD = f"""
[server]
public_url = "https://app.example.com"
[session]
keys = ["{KEY}"]
[provider]
issuer = "https://id.example.com"
client_id = "spa"
client_secret = "s3cret"
"""
GOOD_ENV = {
    "BFF_SERVER__PUBLIC_URL": "https://app.example.com",
    "BFF_SESSION__KEYS": KEY,
    "BFF_PROVIDER__ISSUER": "https://id.example.com",
    "BFF_PROVIDER__CLIENT_ID": "spa",
    "BFF_PROVIDER__CLIENT_SECRET": "s3cret",
}


def redis_settings(url: str, **more: Any) -> RedisSettings:
    """`[redis]` for a server that may take its time, as on a busy machine."""
    return RedisSettings.model_validate({"url": url, "timeout": PATIENCE, **more})


def write(text: str, name: str = "bff.toml") -> Path:
    path = Path(name)
    path.write_text(text)
    return path


def problems(text: str, **environ: str) -> list[SettingProblem]:
    with pytest.raises(SettingsError) as caught:
        load(write(text), environ)
    return caught.value.problems


def keys(text: str, **environ: str) -> list[str]:
    return [problem.key for problem in problems(text, **environ)]


def only(text: str, **environ: str) -> SettingProblem:
    (problem,) = problems(text, **environ)
    return problem


def secret(name: str, content: str | bytes, mode: int = 0o600) -> Path:
    path = Path(name).absolute()
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return path
