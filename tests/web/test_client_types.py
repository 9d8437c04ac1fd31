"""What `client.d.ts` tells a page's author, against what the proxy really sends."""

import re
from pathlib import Path

from bff.errors import Problem
from bff.session.model import EndReason
from bff.web.client_files import configured

ROOT = Path(__file__).parents[2]
TYPES = (ROOT / "bff/web/client/client.d.ts").read_text(encoding="utf-8")
MODULE = (ROOT / "bff/web/client/client.js").read_text(encoding="utf-8")
PAGE = (ROOT / "bff/demo/page/app.js").read_text(encoding="utf-8")


def test_the_types_name_every_code() -> None:
    """A page that switches over `Code` switches over all problems there are."""
    assert {problem.code for problem in Problem} == _union("Code")


def test_the_types_name_every_reason() -> None:
    """The same for the reasons of a session's end."""
    assert {reason.value for reason in EndReason} == _union("EndReason")


def test_the_demo_has_words_for_every_reason() -> None:
    """Whatever ends a session, the demo's page can say it."""
    words = re.search(r"const ENDINGS = \{(.*?)\n\};", PAGE, re.DOTALL)
    assert words is not None
    assert {reason.value for reason in EndReason} == set(re.findall(r"^  (\w+): ", words[1], re.MULTILINE))


def test_what_the_module_exports_is_typed() -> None:
    """No export without its type, and no type without its export."""
    made = set(re.findall(r"^export (?:async )?(?:function|class) (\w+)", MODULE, re.MULTILINE))
    typed = set(re.findall(r"^export declare (?:function|class) (\w+)", TYPES, re.MULTILINE))
    assert made == typed
    assert "export { bffFetch as fetch };" in MODULE
    assert "export { bffFetch as fetch };" in TYPES


def test_the_module_stays_small_and_alone() -> None:
    """Under 400 lines, and as it is served it imports nothing."""
    assert len(MODULE.splitlines()) < 400
    served = configured(ROOT / "bff/web/client/client.js", "X-CSRF", []).decode()
    assert re.search(r"^\s*import[\s(]", served, re.MULTILINE) is None
    assert re.findall(r"^import .*", MODULE, re.MULTILINE) == ['import { isReturnTo } from "./return_to.js";']


def _union(name: str) -> set[str]:
    found = re.search(rf"^export type {name} =(.*?);", TYPES, re.DOTALL | re.MULTILINE)
    assert found is not None
    return set(re.findall(r'"(\w+)"', found[1]))
