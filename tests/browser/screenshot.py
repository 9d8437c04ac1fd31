"""Takes the README's picture of the page: `python3 -m tests.browser.screenshot`."""

import sys
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.demo import running_demo
from tests.browser.visit import chromium, find_chromium, sign_in

PICTURE = Path(__file__).parents[2] / ".github" / "page.png"
WIDTH = 1280
ORDERS = ("A looking-glass", "Two tickets to the mock turtle's concert")


def take(page: Page, url: str, picture: Path) -> None:
    """Signs in, tries what there is to try, and takes the picture of the whole page."""
    sign_in(page, url)
    for item in ORDERS:
        rows = page.locator("#orders tr").count()
        page.get_by_label("Item").fill(item)
        page.get_by_role("button", name="Order it").click()
        expect(page.locator("#orders tr")).to_have_count(rows + 1)
    page.locator("#revoke").click()
    expect(page.locator("#revoke-result")).to_contain_text("Healed", timeout=60_000)
    page.get_by_label("Revoke the token first").check()
    page.locator("#fifty").click()
    expect(page.locator("#fifty-result")).to_contain_text("with 1 rotation.", timeout=60_000)
    page.evaluate("document.activeElement.blur()")
    page.mouse.move(0, 0)
    page.evaluate(
        "Promise.allSettled(document.getAnimations().map((each) => each.finished)).then(() => null)"
    )
    picture.parent.mkdir(exist_ok=True)
    page.screenshot(path=picture, full_page=True, animations="disabled")


def main() -> int:
    """Returns the exit status."""
    executable = find_chromium()
    if executable is None:
        sys.stderr.write("no Chromium\n")
        return 1
    with running_demo(60) as demo, chromium(executable) as browser:
        page = browser.new_page(viewport={"width": WIDTH, "height": 860}, color_scheme="light")
        take(page, demo.url, PICTURE)
    sys.stdout.write(f"{PICTURE}: {PICTURE.stat().st_size // 1000} kB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
