"""The issuer's pages: plain HTML that works without scripts, from the templates beside this file."""

import hashlib
from base64 import b64encode
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from bff.issuer.endpoints.http import page_headers

STALE_FORM = "This page was open for too long, or your browser blocks cookies. Please try again."


class Pages:
    """Renders pages for one issuer."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._environment, self._style_hash = _templates()

    def sign_in(
        self,
        *,
        client: str,
        action: str,
        csrf: str,
        email: str,
        form_target: str,
        problem: str = "",
        status: int = 200,
    ) -> Response:
        """The sign-in page, with the error of a failed sign-in."""
        values = {"client": client, "action": action, "csrf": csrf, "email": email, "problem": problem}
        return self._page("sign_in.html", values, status, (form_target,))

    def sign_out(self, *, email: str, action: str, csrf: str, form_target: str | None) -> Response:
        """The page that asks before a sign-out which the request does not prove."""
        targets = (form_target,) if form_target else ()
        return self._page("sign_out.html", {"email": email, "action": action, "csrf": csrf}, 200, targets)

    def message(self, heading: str, text: str, status: int = 200) -> Response:
        """A page with a message only."""
        return self._page("message.html", {"heading": heading, "text": text}, status, ())

    def _page(self, template: str, values: dict[str, str], status: int, targets: tuple[str, ...]) -> Response:
        html = self._environment.get_template(template).render(values, issuer=self._issuer)
        return HTMLResponse(html, status, headers=page_headers(self._style_hash, targets))


@cache  # several issuers of one process compile each template once
def _templates() -> tuple[Environment, str]:
    """The templates with their style, and the style's hash for the Content-Security-Policy."""
    loader = PackageLoader("bff.issuer")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    source, _, _ = loader.get_source(environment, "page.css")
    environment.globals.update(style=Markup(source))  # noqa: S704 - our own file
    digest = hashlib.sha256(source.encode()).digest()
    return environment, f"sha256-{b64encode(digest).decode()}"
