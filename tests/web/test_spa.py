"""The page from a folder: which paths get the index, and what an answer says about itself."""

from pathlib import Path

import httpx
import pytest

from bff.settings.model import SpaSettings
from bff.web.spa import Spa

NAVIGATION = {"sec-fetch-mode": "navigate", "accept": "*/*"}
SCRIPT = {"sec-fetch-mode": "cors", "accept": "text/html"}


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("the index")
    (tmp_path / "assets" / "app-4f9a1c2e.js").write_text("the app")
    (tmp_path / ".env").write_text("secret")
    return tmp_path


async def ask(folder: Path, path: str, headers: dict[str, str], method: str = "GET") -> httpx.Response:
    app = Spa(folder, SpaSettings(dir=folder))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.request(method, path, headers=headers)


@pytest.mark.parametrize(
    ("status", "path", "headers"),
    [
        (200, "/", SCRIPT),
        (200, "/orders/7", NAVIGATION),
        (200, "/orders/7", {"accept": "text/html,*/*;q=0.8"}),
        (200, "/assets", NAVIGATION),
        (404, "/orders/7", SCRIPT),
        (404, "/orders/7", {"sec-fetch-mode": "no-cors", "accept": "text/html"}),
        (404, "/orders/7", {"accept": "application/json"}),
        (404, "/missing.js", SCRIPT),
        (404, "/missing%00.js", SCRIPT),
        (404, "/.env", SCRIPT),
        (404, "/.env", NAVIGATION),
    ],
)
async def test_who_gets_the_index(folder: Path, status: int, path: str, headers: dict[str, str]) -> None:
    """A navigation to a path that names no file; a script gets a 404 that it can tell apart."""
    answer = await ask(folder, path, headers)
    assert status == answer.status_code
    if status == 200:
        assert "the index" == answer.text
    else:
        assert ("no_route", "application/problem+json") == (
            answer.json()["code"],
            answer.headers["content-type"],
        )


async def test_a_page_without_an_index_is_no_route(tmp_path: Path) -> None:
    """An index that is not there, too, is a 404 of ours."""
    answer = await ask(tmp_path, "/", NAVIGATION)
    assert (404, "no_route") == (answer.status_code, answer.json()["code"])


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_a_page_is_only_read(folder: Path, method: str) -> None:
    """Anything but GET and HEAD is refused with the methods there are."""
    answer = await ask(folder, "/", NAVIGATION, method)
    assert (405, "GET, HEAD") == (answer.status_code, answer.headers["allow"])


async def test_what_an_answer_says_about_itself(folder: Path) -> None:
    """Security headers on each; a file with a fingerprint is kept for a year, the index never."""
    index = await ask(folder, "/orders/7", NAVIGATION)
    script = await ask(folder, "/assets/app-4f9a1c2e.js", SCRIPT)
    expected = {
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        "content-security-policy": SpaSettings(dir=folder).csp,
    }
    for answer in (index, script):
        assert expected == {name: answer.headers[name] for name in expected}
    assert "no-cache" == index.headers["cache-control"]
    assert "public, max-age=31536000, immutable" == script.headers["cache-control"]
