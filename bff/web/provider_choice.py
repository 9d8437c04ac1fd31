"""The provider of a sign-in: named by `?provider=`, the session's own, the default, or chosen on a page.

Rule 1: a provider that this frontend does not have is a mistake that is told of, never the default.
Rule 2: the page loads nothing and runs nothing. Its links repeat the query that came, and nothing else does.
"""

from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import urlencode

from starlette.responses import Response

from bff.errors import Problem
from bff.oidc.client import OidcClient
from bff.oidc.providers import Providers
from bff.problems import LOGIN, PAGE_HEADERS, page_of
from bff.web.responses import NO_STORE, problem_answer

_PARAMETER = "provider"


class ProviderChoice:
    """The choice among the providers of a frontend; `page`: who names none is asked."""

    def __init__(self, providers: Providers, *, base_path: str, page: bool) -> None:
        self._providers = providers
        self._url = base_path + LOGIN
        self.page = page and providers.several

    def of(
        self, query: Sequence[tuple[str, str]], session: OidcClient | None = None
    ) -> OidcClient | Response:
        """Returns the provider of a sign-in, or what to answer instead of one: a refusal, or the page.

        `session` is the provider of the session that a step-up goes on with.
        """
        if not self._providers.several:
            return self._providers.default
        named = [value for name, value in query if name == _PARAMETER]
        if not named:
            if session is not None:
                return session
            return self.asked(query) if self.page else self._providers.default
        client = self._providers.get(named[0]) if len(named) == 1 else None
        if client is None:
            detail = (
                f"provider is to name one of: {', '.join(each.settings.name for each in self._providers)}."
            )
            return problem_answer(Problem.BAD_REQUEST, detail=detail)
        return client

    def asked(self, query: Iterable[tuple[str, str]]) -> Response:
        """Returns the page on which a person chooses; its links lead back here, with the query that came."""
        kept = [(name, value) for name, value in query if name != _PARAMETER]
        items = "".join(self._link(each, kept) for each in self._providers)
        headers = {name.decode(): value.decode() for name, value in PAGE_HEADERS}
        return Response(page_of("Sign in with", f"<ul>{items}</ul>"), 200, {**NO_STORE, **headers})

    def _link(self, client: OidcClient, kept: Sequence[tuple[str, str]]) -> str:
        settings = client.settings
        url = f"{self._url}?{urlencode([*kept, (_PARAMETER, settings.name)])}"
        return f'<li><a href="{escape(url)}">{escape(settings.title or settings.name)}</a></li>'
