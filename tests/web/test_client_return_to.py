"""`return_to` as the page's module checks it, against what the proxy takes: one list of cases for both."""

import json
import random
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from bff.policy.return_to import MAX_RETURN_TO, check_return_to
from bff.policy.routes import RouteTable
from bff.settings.model import RouteSettings
from bff.web.client_files import configured
from tests.policy.test_return_to import ROUTES, corpus

NODE = shutil.which("node")
# The module in a page whose address and whose `location.assign` are ours.
PROGRAM = """
const [url, cases] = [process.argv[2], JSON.parse(require("fs").readFileSync(0, "utf8"))];
globalThis.location = { origin: "https://app.example.com", assign: (url) => { location.went = url; } };
import(url).then(({ login }) => {
  const target = (call) => {
    call();
    return new URL(location.went, location.origin).searchParams.get("return_to");
  };
  const results = cases.map((value) => {
    location.href = "https://app.example.com/";
    const asked = target(() => login(value));
    try { location.href = new URL(value, "https://app.example.com").href; } catch { }
    return [asked, target(() => login())];
  });
  console.log(JSON.stringify(results));
  process.exit(0);
});
"""

pytestmark = [pytest.mark.requirement("O-04"), pytest.mark.skipif(NODE is None, reason="no Node")]


def by_the_module(folder: Path, cases: list[str], routes: RouteTable = ROUTES) -> list[list[str]]:
    """Where `login(case)` leads for each, and where `login()` does on a page of that address."""
    assert NODE is not None
    module, program = folder / "client.mjs", folder / "program.cjs"
    source = files("bff.web") / "client" / "client.js"
    module.write_bytes(configured(source, "X-CSRF", routes.taken))
    program.write_text(PROGRAM, encoding="utf-8")
    command = [NODE, str(program), module.as_uri()]
    done = subprocess.run(
        command, input=json.dumps(cases), capture_output=True, text=True, check=True, timeout=60
    )
    found: list[list[str]] = json.loads(done.stdout)
    return found


def expected(cases: list[str], routes: RouteTable = ROUTES) -> dict[str, str]:
    return {case: check_return_to(case, routes.covers) or "/" for case in cases}


def test_both_take_the_same(tmp_path: Path) -> None:
    """Every good value goes on as it is; everything that the proxy refuses leads to the start page."""
    longest = "/" + "a" * (MAX_RETURN_TO - 1)
    cases = [*corpus("good_return_to.txt"), *corpus("open_redirects.txt"), "", longest, longest + "a"]
    found = dict(zip(cases, (asked for asked, _ in by_the_module(tmp_path, cases)), strict=True))
    assert expected(cases) == found


def test_no_page_of_ours_is_a_dead_end(tmp_path: Path) -> None:
    """By default the present page is meant: whatever its address, the proxy takes what the module sends."""
    cases = [*corpus("good_return_to.txt"), *corpus("open_redirects.txt"), "/a?b=\\", "/é", "/a b"]
    for case, (_, here) in zip(cases, by_the_module(tmp_path, cases), strict=True):
        assert here == check_return_to(here, ROUTES.covers), case


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_sent_that_the_proxy_refuses(tmp_path: Path, seed: int) -> None:
    """Some thousand paths made of what matters: dots, slashes, escapes of escapes, blanks, other scripts.

    The module is stricter in what no page is called by (dots with blanks between, a full-width percent sign).
    """
    dice = random.Random(seed)  # noqa: S311 - cases that can be had again, no secrets
    parts = ["/", "//", "\\", ".", "..", ";", "%2f", "%2e", "%5c", "%25", "%20", "%00", "%c2%a0", "%e9", "%"]
    parts += [
        "api",
        "API",
        "bff",
        "a",
        "x;y",
        "%ef%bc%8f",
        "%ef%bc%85",
        "2f",
        "2e",
        "%C3%A9",
        "%E2%80%A8",
        "?",
    ]
    parts += ["#", "=", "é", " ", "%61", "%62ff", "reports", "%ef%bd%82%ef%bd%86%ef%bd%86"]
    cases = ["/" + "".join(dice.choices(parts, k=dice.randint(1, 7))) for _ in range(2000)]
    wanted = expected(cases)
    sent = [
        (case, asked)
        for case, (asked, _) in zip(cases, by_the_module(tmp_path, cases), strict=True)
        if asked != wanted[case]
    ]
    assert [] == [(case, asked) for case, asked in sent if asked != "/"]
    stricter = ("%ef%bc%85", "%c2%a0", "%20")
    assert [] == [case for case, _ in sent if not any(part in case for part in stricter)]
    assert 50 < sum(case == good for case, good in wanted.items())


@pytest.mark.parametrize("path", ["/", "/data", "/Data/Deep"])
def test_the_routes_that_are_configured_count(tmp_path: Path, path: str) -> None:
    """A page under a route is not where sign-in may lead; the module is told the routes when it is served."""
    routes = RouteTable.from_settings([RouteSettings(path=path, upstream="http://127.0.0.1:1")])
    cases = ["/data/deep/7", "/DATA", "/database", "/x", "/data/%64eep", "/bff/user"]
    found = dict(zip(cases, (asked for asked, _ in by_the_module(tmp_path, cases, routes)), strict=True))
    assert expected(cases, routes) == found
