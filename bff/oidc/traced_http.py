"""Calls to the provider with a span for each that a request or a rotation makes.

Rule 1: no trace context goes to the provider, which is not ours.
"""

from collections.abc import Callable, Mapping

from bff.observe.tracing import Spans
from bff.oidc.http import NO_HEADERS, PLAIN, Answer, ProviderHttp, Sending
from bff.oidc.requests import Form
from bff.settings.model import ProviderSettings

_STATUS = "http.response.status_code"
_ERROR = 400


class TracedProviderHttp(ProviderHttp):
    """Connections to a provider whose calls are spans. `spans` is to be set before the first."""

    spans: Spans

    async def get(self, url: str, *, headers: Mapping[str, str] = NO_HEADERS) -> Answer:
        """Reads a document."""
        with self.spans.http("GET", url) as span:
            answer = await super().get(url, headers=headers)
            span.note(_STATUS, answer.status)
            if answer.status >= _ERROR:
                span.failed(str(answer.status))
            return answer

    async def post(self, url: str, form: Form, sending: Sending = PLAIN) -> Answer:
        """Sends a form, once."""
        with self.spans.http("POST", url) as span:
            answer = await super().post(url, form, sending)
            span.note(_STATUS, answer.status)
            if answer.status >= _ERROR:
                span.failed(str(answer.status))
            return answer


def http_maker(spans: Spans | None) -> Callable[[ProviderSettings, int], ProviderHttp]:
    """Returns what makes the connections that settings ask for, which trace where there are `spans`."""
    if spans is None:
        return ProviderHttp.of

    def made(settings: ProviderSettings, token_calls: int) -> ProviderHttp:
        http = TracedProviderHttp.of(settings, token_calls=token_calls)
        http.spans = spans
        return http

    return made
