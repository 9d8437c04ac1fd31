"""Forward-auth: a reverse proxy that forwards a call itself asks for its token.

Rule 1: a token is told to a reverse proxy that has proved itself by the shared secret, and to nobody else.
Everybody else gets the answer of an endpoint that does not exist.
Rule 2: the client's request is judged by what judges a forwarded call: the same routes, guard, limits,
sessions, refreshes, token exchanges and hook. A route that asks for no session gets no token.
Rule 3: a question is over with its answer: what follows the call of a forwarded route (limits on streams, the
end with the session, the retry after a 401) is not done here. For a 401 the reverse proxy sends the call on
to the forwarded route.
Rule 4: a token that is bound to the session's key is told with a proof, for the route's `upstream` and the
client's method and path: that the call goes there is the reverse proxy's matter.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import SecretStr

from bff.credentials.credential import Anonymous, Signed
from bff.errors import Problem
from bff.observe.logs import audit
from bff.policy.admission import Denied, RequestHead
from bff.policy.fields import Header
from bff.policy.forward_auth_request import (
    FORWARD_AUTH,
    UNAUTHORIZED_ONLY,
    Asking,
    digest_of,
    is_forward_auth,
    no_proof,
)
from bff.proxy.forward.call_opening import OpeningCall
from bff.proxy.forward.client_side import ClientSide
from bff.proxy.forward.forwarding_context import ForwardingContext

_NAME = FORWARD_AUTH.decode("ascii")
_NOTHING = Denied(Problem.NO_ROUTE, "no proof")
_OK = 200
_UNAUTHORIZED = 401
_HEAD: tuple[Header, ...] = ((b"cache-control", b"no-store"), (b"content-length", b"0"))


class ForwardAuth:
    """The endpoint `/bff/forward-auth`. Without `secrets` there is none."""

    _digests: Sequence[bytes]

    def __init__(
        self, asking: Asking, secrets: Iterable[SecretStr], calls: "type[ForwardAuthCall] | None" = None
    ) -> None:
        self._asking = asking
        self._calls = calls or ForwardAuthCall
        self.take(secrets)

    def take(self, secrets: Iterable[SecretStr]) -> None:
        """Follows a change of the secrets."""
        self._digests = [digest_of(secret.get_secret_value().encode()) for secret in secrets]

    def takes(self, raw_path: bytes) -> bool:
        """Returns True if a path is the endpoint's."""
        return bool(self._digests) and is_forward_auth(raw_path)

    def call(
        self, context: ForwardingContext, question: RequestHead, client: ClientSide
    ) -> "ForwardAuthCall":
        """Returns the answering of a question, which has not begun."""
        reason = no_proof(question, self._digests)
        if reason is not None:
            return ForwardAuthCall(context, question, _NOTHING, client, unproven=reason)  # leaves no trace
        asked = self._asking.judge(question)
        if question.raw_path == FORWARD_AUTH and question.query == UNAUTHORIZED_ONLY:
            client = _Unauthorized(client)
        return self._calls(context, asked.request, asked.verdict, client)


class ForwardAuthCall(OpeningCall):
    """The answering of one question; its `request` is the client's. A front makes it, and calls `begin`.

    `unproven` says why the question is not believed.
    """

    def __init__(self, *common: Any, unproven: str | None = None) -> None:
        super().__init__(*common)
        self._unproven = unproven

    def begin(self) -> None:
        """Answers at once where that takes no wait."""
        verdict = self._verdict
        if self._unproven is not None:
            where = {"address": self._ids.client, "frontend": self._context.frontend}
            audit("forward_auth_refused", **where, reason=self._unproven)
        if isinstance(verdict, Denied):
            self._deny(verdict)
            return
        destination = self._destination
        if not destination.waits:
            if not verdict.signed and verdict.bearer is None:
                self._allow([])
                return
            cookie = self.request.fields.only(b"cookie") if verdict.signed else None
            ready = None if cookie is None else destination.credentials.session.ready(cookie)
            if ready is not None:  # as most are: over at once, and not counted among those under way
                self._session = ready.key
                self._allow(destination.identity.of_ready(ready, self.request.method, self._admitted.target))
                return
        if self._caller.begin():
            self._spawn(self._open())
        else:
            self._too_many("calls at once from this address")

    def _go_on(self, credential: Signed | Anonymous, added: tuple[Header, ...]) -> None:
        if isinstance(credential, Signed):
            self._session = credential.found.session.key
        fields = self._destination.identity.of(credential, self.request.method, self._admitted.target)
        self._allow([*added, *fields])

    def _allow(self, fields: Sequence[Header]) -> None:
        """Allows the call, with these fields for the backend."""
        self._status = _OK
        self._finish()
        self._client.send_head(_OK, [*_HEAD, *fields])
        self._client.send_end()

    def _named(self) -> tuple[Header, ...]:
        """Returns nothing without proof: the answer is that of an endpoint that does not exist."""
        return () if self._unproven is not None else super()._named()

    def _route_name(self) -> str:
        return _NAME

    # From the front: a question's body means nothing, and its answer is too short to be paused.

    def body(self, *_: bytes) -> None:
        """Does nothing."""

    body_end = pause_answer = resume_answer = body


class _Unauthorized:
    """The reverse proxy's side of a question: every refusal is a 401; the document keeps the true status."""

    def __init__(self, client: ClientSide) -> None:
        self.send_data, self.send_end, self.abort = client.send_data, client.send_end, client.abort
        self.pause_request, self.resume_request = client.pause_request, client.resume_request
        self._client = client

    def send_head(self, status: int, headers: list[Header]) -> None:
        """Begins the answer."""
        self._client.send_head(status if status == _OK else _UNAUTHORIZED, headers)
