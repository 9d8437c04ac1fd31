"""POST /bff/dbsc/register and /bff/dbsc/refresh: a browser binds its session to its device, and proves it.

Device Bound Session Credentials (W3C DBSC). Browsers make both requests by themselves, without the CSRF
header. Neither needs it: nothing happens, and no cookie is given, without a signature over a challenge of
ours by the key in question; the fields that carry it cannot be set by a foreign page (`Sec-…` by none at all,
`Secure-Session-Response` not without a preflight, which is never granted). The origin is checked on top.

Rule 1: a session is bound once, by a challenge that was handed out with it, and to one key for its life.
Rule 2: a challenge works once. One that is spent or over, with a good signature, is answered 403 with the
next one: two renewals at once, a lost answer or a slow network sign nobody out.
Rule 3: a failing store is 503: the browser comes back, and what was there stays.
Rule 4: an address is counted before anything is read of a proof: a signature costs. Beyond its limit 503, not
429: Chromium forgets its key at any 4xx but 403, and comes back after a 5xx.
Rule 5: a renewal that cannot be read is asked for again, as a late one is: something on the way may have cut
it. Chromium signs four times, and only then forgets its key, as it does at once where a signature is wrong.
Rule 6: a browser is told to give up (`continue: false`) only where there is no such session any more.
"""

import hashlib
import math
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bff.errors import Problem, StoreUnavailableError
from bff.observe.logs import audit
from bff.policy.csrf import Guard, Rejected
from bff.policy.device_binding import (
    CHALLENGE,
    RESPONSES,
    SESSION_IDS,
    ProofRefusedError,
    challenge_for,
    instructions,
    over,
    parse_proof,
    verify,
)
from bff.policy.quota import Limited
from bff.session.device_bound_sessions import BoundSessions
from bff.session.device_proof import Use
from bff.session.model import ID_LENGTH, NoSession
from bff.session.store import Write
from bff.settings.model import ServerSettings
from bff.web.accounting import name_session
from bff.web.endpoint_limits import EndpointLimits
from bff.web.responses import NO_STORE, address_of, json_answer, problem_answer

REGISTER: Final = "/bff/dbsc/register"
REFRESH: Final = "/bff/dbsc/refresh"
_KEY: Final = re.compile(r"[0-9a-f]{64}")
_CLAIM: Final = "device"


class DeviceBindingEndpoints:
    """The two endpoints."""

    def __init__(
        self, *, sessions: BoundSessions, guard: Guard, server: ServerSettings, limits: EndpointLimits
    ) -> None:
        self._limits = limits
        self._sessions = sessions
        self._proof = sessions.proof
        self._guard = guard
        self._trusted = server.trusted_proxies
        self._base_path = server.base_path
        self._origin = guard.origin.decode("ascii")

    def routes(self) -> list[Route]:
        """The routes of both."""
        return [
            Route(REGISTER, self.register, methods=["POST"]),
            Route(REFRESH, self.refresh, methods=["POST"]),
        ]

    async def register(self, request: Request) -> Response:
        """Binds the session of a challenge to the key that answers it."""
        return await self._answer(request, self._register)

    async def refresh(self, request: Request) -> Response:
        """Renews the proof of a bound session's device."""
        return await self._answer(request, self._refresh)

    async def _answer(self, request: Request, act: Callable[[Request], Awaitable[Response]]) -> Response:
        if (refusal := self._foreign(request)) is not None:
            return refusal
        if (limited := await self._limits.device(self._address(request))) is not None:
            return _later(limited)
        try:
            return await act(request)
        except ProofRefusedError as refused:
            return self._refused(request, refused.reason)
        except StoreUnavailableError:
            return problem_answer(Problem.STORE_UNAVAILABLE)

    async def _register(self, request: Request) -> Response:
        proof = parse_proof(_field(request, RESPONSES) or "")
        challenge = self._proof.read_challenge(proof.challenge)
        if challenge is None or not self._proof.fresh(challenge, "register"):
            raise ProofRefusedError("challenge")
        key = challenge.session
        name_session(request.scope, key)
        if proof.key is None:
            raise ProofRefusedError("key")
        verify(proof, proof.key, self._url(REGISTER))
        present = await self._sessions.device_of(key)
        if isinstance(present, NoSession):
            raise ProofRefusedError("session")
        if present not in ("", proof.key):
            raise ProofRefusedError("another_key")
        if not await self._take(proof.challenge):
            if not present:
                raise ProofRefusedError("challenge")
            return self._again("register", key)  # its answer was lost; the key's holder alone can sign anew
        if await self._sessions.bind(key, proof.key) is not Write.REPLACED:
            raise ProofRefusedError("another_key")
        if not present:
            audit("session_bound", session=key[:ID_LENGTH], **self._where(request))
        return self._good(key)

    async def _refresh(self, request: Request) -> Response:
        key = _field(request, SESSION_IDS) or ""
        if not _KEY.fullmatch(key):
            raise ProofRefusedError("session")
        name_session(request.scope, key)
        public_key = await self._sessions.device_of(key)
        if public_key == "":  # a failover of Redis lost it, or somebody has taken it away
            audit("binding_lost", session=key[:ID_LENGTH], **self._where(request))
        if isinstance(public_key, NoSession) or not public_key:
            return json_answer(over(key))
        value = _field(request, RESPONSES)
        if value is None:
            return self._again("refresh", key)
        try:
            proof = parse_proof(value)
        except ProofRefusedError as refused:
            if refused.reason != "malformed":
                raise
            address = self._address(request)
            audit("binding_refused", session=key[:ID_LENGTH], address=address, reason=refused.reason)
            return self._again("refresh", key)
        verify(proof, public_key, self._url(REFRESH))
        challenge = self._proof.read_challenge(proof.challenge)
        if self._proof.fresh(challenge, "refresh", key) and await self._take(proof.challenge):
            return self._good(key)
        return self._again("refresh", key)

    async def _take(self, challenge: str) -> bool:
        """Takes a challenge, once."""
        value = hashlib.sha256(challenge.encode()).hexdigest()
        return await self._sessions.one_time.claim(_CLAIM, value, lifetime=self._proof.challenge_lifetime)

    def _good(self, key: str) -> Response:
        """The proof, for a while, and the challenge for its renewal."""
        document = instructions(
            key,
            origin=self._origin,
            base_path=self._base_path,
            cookie=self._proof.name,
            attributes=self._proof.attributes,
        )
        response = json_answer(document, headers=self._challenge("refresh", key))
        response.headers.append("set-cookie", self._proof.set(key))
        return response

    def _again(self, use: Use, key: str) -> Response:
        """Asks for an answer to another challenge, as DBSC asks: by 403."""
        return Response(b"", 403, {**NO_STORE, **self._challenge(use, key)})

    def _challenge(self, use: Use, key: str) -> dict[str, str]:
        return {CHALLENGE: challenge_for(key, self._proof.challenge(use, key))}

    def _foreign(self, request: Request) -> Response | None:
        verdict = self._guard.sign_out(request.scope["headers"])
        if not isinstance(verdict, Rejected):
            return None
        audit("csrf_rejected", **self._where(request), reason=verdict.reason)
        detail = self._guard.explain(verdict.reason)
        return problem_answer(Problem.CSRF_REJECTED, detail=detail, reason=verdict.reason)

    def _refused(self, request: Request, reason: str) -> Response:
        audit("binding_refused", **self._where(request), reason=reason)
        detail = f"The device's proof is not accepted: {reason}."
        return problem_answer(Problem.BAD_REQUEST, detail=detail)

    def _url(self, path: str) -> str:
        return self._origin + self._base_path + path

    def _where(self, request: Request) -> dict[str, str]:
        """The fields of an audit event about where a request came from, and to."""
        return {"address": self._address(request), "frontend": self._sessions.frontend}

    def _address(self, request: Request) -> str:
        return address_of(request, self._trusted)


def _later(limited: Limited) -> Response:
    """Puts a browser off; it reads the status alone."""
    fields = {name.decode(): value.decode() for name, value in limited.fields()}
    return Response(b"", 503, {**NO_STORE, **fields, "Retry-After": str(math.ceil(limited.wait))})


def _field(request: Request, names: tuple[str, ...]) -> str | None:
    """The value of a field of one of these names, without the quotes of a structured one; None for several.

    The same value twice is one: a browser may send a field under its former name too.
    """
    values = {value.strip('" ') for name in names for value in request.headers.getlist(name)}
    return values.pop() if len(values) == 1 else None


def endpoints_of(sessions: Any, guard: Guard, server: ServerSettings, limits: EndpointLimits) -> list[Route]:
    """Returns the routes where sessions can be bound; else none."""
    if not isinstance(sessions, BoundSessions):
        return []
    return DeviceBindingEndpoints(sessions=sessions, guard=guard, server=server, limits=limits).routes()
