"""The choice of a call's credential: its session's, a client's own token, or the proxy's own."""

from dataclasses import dataclass

from bff.credentials.bearer_credentials import BearerAccess
from bff.credentials.credential import Anonymous, Mode, Refused, Signed, TokenOnly, Unsigned
from bff.credentials.session_credentials import Credentials
from bff.policy.admission import Admitted, RequestHead
from bff.session.rotation_policy import PassOn


@dataclass(frozen=True, slots=True)
class CredentialChoice:
    """The credentials that calls of one route may have, and the choice among them.

    Attributes:
        session: those of calls with a session.
        bearer: those of programs; None where clients may bring no tokens of their own.
        unsigned: the token of calls for which no session is looked up; None where these carry none.
        required: a call whose session is over is refused, where another would go without one.
    """

    session: Credentials
    bearer: BearerAccess | None = None
    unsigned: Unsigned | None = None
    required: bool = True

    async def find(
        self, request: RequestHead, admitted: Admitted, client: str
    ) -> Signed | Anonymous | Refused:
        """Finds the credential of a call; waits for Redis, a refresh or the provider where it has to."""
        if admitted.bearer is not None:
            assert self.bearer is not None  # else no call is admitted by its token
            return await self.bearer.credential(admitted.bearer)
        if not admitted.signed:
            return Anonymous() if self.unsigned is None else await self.unsigned.unsigned()
        cookies = request.fields.values(b"cookie")
        return await self.session.obtain(cookies, address=client, required=self.required)

    def over(self, credential: Signed | Anonymous) -> bool:
        """Returns True if the token ended during a wait: then ask `again`."""
        if isinstance(credential, TokenOnly):
            return self.unsigned is not None and self.unsigned.unsigned_over(credential)
        return isinstance(credential, Signed) and self.session.over(credential)

    async def again(self, credential: Signed | Anonymous) -> Signed | Anonymous | Refused:
        """Finds the credential of the same call once more, in place of one that is over."""
        if isinstance(credential, Signed):
            return await self.session.again(credential, required=self.required)
        return credential if self.unsigned is None else await self.unsigned.unsigned()

    async def renew(
        self, credential: Signed | TokenOnly, *, invalid_token: bool, mode: Mode
    ) -> Signed | TokenOnly | PassOn | Refused:
        """Decides after a backend's 401: repeat with another token, pass it on, or refuse."""
        if isinstance(credential, Signed):
            return await self.session.renew(credential, invalid_token=invalid_token, mode=mode)
        if self.unsigned is None or credential.own is None:
            return PassOn()
        return await self.unsigned.renew_unsigned(credential, invalid_token=invalid_token, mode=mode)
