"""A forwarded call after a backend's 401: the step that may heal it.

Rule 1: a 401 for a token's sake and one for the sake of a proof's nonce are answered by one repeat each.
Rule 2: a refused proof says nothing about the token: the tokens are not rotated for it (RFC 9449 9).
Rule 3: a call is repeated only with its whole body at hand; else the 401 is passed on, and the next call has
the newer token or nonce.
"""

from collections.abc import Coroutine
from typing import Any, assert_never

from bff.credentials.credential import Refused, Signed, TokenOnly, says_invalid_token
from bff.errors import Problem
from bff.policy.fields import Header
from bff.policy.step_up import Demand
from bff.proxy.forward.call_end import CallEnd
from bff.session.token_policy import PassOn

_UNAUTHORIZED = 401


class Healing(CallEnd):
    """The part of a forwarded call that follows a 401."""

    async def _send(self) -> None:
        """Sends the call, over a connection that is waited for."""
        raise NotImplementedError

    def _release(self) -> None:
        """Lets an answer that was held back go to the client after all."""
        raise NotImplementedError

    def healing(self, status: int, headers: list[Header]) -> Coroutine[Any, Any, None] | None:
        """Returns the step that may heal a 401; None where the answer is passed on."""
        sent, destination = self._credential, self._destination
        about_proof = None if destination.proofs is None else destination.proofs.answered(status, headers)
        if status != _UNAUTHORIZED or not isinstance(sent, Signed | TokenOnly):
            return None
        if isinstance(sent, Signed):
            if about_proof is not None and sent.found.session.tokens.proof_key is not None:
                again = about_proof == "repeat" and not self._proved_again
                return self._prove_again() if again else None
            if (demand := self._context.demand_in(headers)) is not None:
                return self._step_up(sent, demand)
        if not destination.rules.bearer or self._retried_401:
            return None
        return self._renew(sent, invalid_token=says_invalid_token(headers))

    async def _step_up(self, signed: Signed, demand: Demand) -> None:
        """Asks for the sign-in that a backend demands; newer tokens of the same sign-in would not do."""
        if await self._destination.credentials.meets(signed, demand):
            self._release()
        else:
            self._drop_call()
            self._refuse(Refused(Problem.STEP_UP_REQUIRED, demand=demand))

    async def _renew(self, sent: Signed | TokenOnly, *, invalid_token: bool) -> None:
        settings = self._admitted.route.settings
        renewed = await self._destination.renew(
            sent, invalid_token=invalid_token, mode=settings.refresh_on_401
        )
        match renewed:
            case Signed() | TokenOnly():
                self._credential = renewed
                self._retried_401 = self._upload.replayable
                await self._repeat()
            case PassOn():
                self._release()
            case Refused():
                self._drop_call()
                self._refuse(renewed)
            case other:
                assert_never(other)

    async def _prove_again(self) -> None:
        """Sends the same token with another proof, which holds the nonce that the backend has just given."""
        self._proved_again = self._upload.replayable
        await self._repeat()

    async def _repeat(self) -> None:
        if self._upload.replayable:
            self._context.metrics.retried(self._admitted.route.settings.path)
            self._drop_call()
            await self._send()
        else:
            self._not_replayed = True
            self._release()
