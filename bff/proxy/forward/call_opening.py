"""The opening of a call that has to wait: its credential, a limit on how often, the application's word."""

from bff.credentials.credential import Anonymous, Refused, Signed
from bff.policy.fields import Header
from bff.proxy.forward.call_end import EndingCall
from bff.proxy.forward.credential_after_wait import asked


class OpeningCall(EndingCall):
    """A call whose credential may have to be waited for."""

    async def _open(self) -> None:
        """Finds the credential by waiting for it, then asks the application, where there is one."""
        destination, client = self._destination, self._ids.client
        credential = await destination.credential_for(self.request, self._admitted, client)
        if isinstance(credential, Refused):
            self._refuse(credential)
        elif self._sign(credential):
            answer = await asked(destination, self.request, self._admitted, credential, client)
            if isinstance(answer, Refused):
                self._refuse(answer)
            else:
                self._go_on(*answer)

    def _sign(self, credential: Signed | Anonymous) -> bool:
        """Counts the call for its session; returns False for a call that is refused then."""
        del credential
        return True

    def _go_on(self, credential: Signed | Anonymous, added: tuple[Header, ...]) -> None:
        """Goes on with a credential, and the fields that the application adds."""
        raise NotImplementedError
