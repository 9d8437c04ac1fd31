"""The page from a folder: which paths get the index, and what an answer says about itself."""

import gzip
import os
from pathlib import Path

import httpx
import pytest

from bff.settings.model import SpaSettings
from bff.web.spa import Spa

NAVIGATION = {"sec-fetch-mode": "navigate", "accept": "*/*"}
INDEX = '<title>the index</title><script src="/assets/app-4f9a1c2e.js"></script>'
SCRIPT = {"sec-fetch-mode": "cors", "accept": "text/html"}


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text(INDEX)
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
        (404, "/assets/app-of-yesterday.js", NAVIGATION),
        (200, "/jane.doe", NAVIGATION),
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
        assert INDEX == answer.text
    else:
        assert ("no_route", "application/problem+json") == (
            answer.json()["code"],
            answer.headers["content-type"],
        )


async def test_a_page_without_an_index_is_no_route(tmp_path: Path) -> None:
    """An index that is not there, too, is a 404 of ours."""
    answer = await ask(tmp_path, "/", NAVIGATION)
    assert (404, "no_route") == (answer.status_code, answer.json()["code"])


async def test_a_public_path_is_a_file_or_nothing(folder: Path) -> None:
    """Of what needs no session the index is never the answer, however its path is written."""
    page = Spa(folder, SpaSettings(dir=folder, auth="required", public=("/assets/", "/error")))
    transport = httpx.ASGITransport(app=page)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for path in ("/assets/none.js", "/assets/%2e%2e/index.html", "/assets/..%5cindex.html", "/error"):
            assert 404 == (await client.get(path, headers=NAVIGATION)).status_code
        assert 200 == (await client.get("/assets/app-4f9a1c2e.js", headers=SCRIPT)).status_code


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_a_page_is_only_read(folder: Path, method: str) -> None:
    """Anything but GET and HEAD is refused with the methods there are."""
    answer = await ask(folder, "/", NAVIGATION, method)
    assert (405, "GET, HEAD") == (answer.status_code, answer.headers["allow"])


async def test_what_an_answer_says_about_itself(folder: Path) -> None:
    """Security headers on each; a file of the build is kept for a year, the index never."""
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


async def test_only_files_of_the_build_are_kept(folder: Path) -> None:
    """A name that looks like a build's is asked for again, wherever the index loads nothing from."""
    (folder / "terms-version2.txt").write_text("the terms")
    answer = await ask(folder, "/terms-version2.txt", SCRIPT)
    assert "no-cache" == answer.headers["cache-control"]


@pytest.mark.parametrize(
    ("expected", "accept"),
    [("br", "gzip, deflate, br"), ("gzip", "gzip"), (None, "identity"), (None, "br;q=0")],
)
async def test_a_compressed_copy_is_sent_in_the_files_place(
    folder: Path, expected: str | None, accept: str
) -> None:
    """To a client that takes it, under the file's own type and a tag of its own; caches are told."""
    script = folder / "assets" / "app-4f9a1c2e.js"
    copies = {"br": script.with_name(script.name + ".br"), "gzip": script.with_name(script.name + ".gz")}
    for copy in copies.values():
        copy.write_bytes(gzip.compress(copy.name.encode()))
    answer = await ask(folder, "/assets/app-4f9a1c2e.js", SCRIPT | {"accept-encoding": accept}, "HEAD")
    size = (script if expected is None else copies[expected]).stat().st_size
    assert (expected, str(size)) == (answer.headers.get("content-encoding"), answer.headers["content-length"])
    assert "accept-encoding" == answer.headers["vary"]
    assert "text/javascript" in answer.headers["content-type"]
    again = SCRIPT | {"accept-encoding": accept, "if-none-match": answer.headers["etag"]}
    assert 304 == (await ask(folder, "/assets/app-4f9a1c2e.js", again)).status_code


async def test_a_copy_that_is_older_than_its_file_is_out_of_date(folder: Path) -> None:
    """The file itself is sent then."""
    copy = folder / "index.html.br"
    copy.write_bytes(b"an older index")
    os.utime(copy, (1, 1))
    answer = await ask(folder, "/", NAVIGATION | {"accept-encoding": "br"})
    assert INDEX == answer.text


async def test_a_part_is_one_of_the_file_itself(folder: Path) -> None:
    """206, uncompressed, though a copy is there."""
    (folder / "index.html.br").write_bytes(b"compressed")
    answer = await ask(folder, "/", NAVIGATION | {"accept-encoding": "br", "range": "bytes=7-15"})
    assert (206, "the index") == (answer.status_code, answer.text)
    assert "content-encoding" not in answer.headers
