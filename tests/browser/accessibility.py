"""The judgement of axe on a page, and of a ruler: nothing is wider than the window."""

from functools import cache
from typing import Any, Literal

from playwright.sync_api import Page

from tests.node.packages import installed
from tests.npm.workshop import HERE

_WIDTHS: tuple[tuple[int, Literal["dark", "light"]], ...] = ((320, "dark"), (399, "light"), (1280, "light"))
_RUN = """async () => {
  const { violations } = await axe.run(document, {
    resultTypes: ["violations"], rules: { "target-size": { enabled: true } },
  });
  const places = (nodes) => nodes.map(({ html, failureSummary }) => [html, failureSummary]);
  return violations.map(({ id, nodes }) => [id, places(nodes)]);
}"""
# What sticks out: to the right of the window, or of a block that does not scroll.
_WIDE = """() => {
  const scrolls = (node) => node && node !== document.documentElement
    && (getComputedStyle(node).overflowX !== "visible" || scrolls(node.parentElement));
  const name = (node) => `${node.localName}#${node.id}.${node.className}: ${node.textContent.slice(0, 40)}`;
  const isBlock = (node) => getComputedStyle(node).display !== "inline";
  const found = document.documentElement.scrollWidth > innerWidth ? ["the page"] : [];
  for (const node of document.body.querySelectorAll("*")) {
    if (!node.checkVisibility() || node.closest("svg") || scrolls(node)) continue;
    const { right, width } = node.getBoundingClientRect();
    if (width > 1 && right > innerWidth + 0.5) found.push(name(node));
    else if (isBlock(node) && node.scrollWidth > node.clientWidth + 1) found.push(name(node));
  }
  return found;
}"""


@cache
def _axe() -> str:
    return (installed(HERE) / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


def faults(page: Page) -> dict[str, Any]:
    """All that is wrong with a page, by width: small and dark, a little larger, large; {} if nothing is."""
    found = {}
    for width, scheme in _WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.evaluate(_axe())  # by the debugger: no page's policy stands in the way
        wrong = page.evaluate(_RUN) + page.evaluate(_WIDE)
        if wrong:
            found[f"{page.url} at {width}"] = wrong
    return found
