"""The credential of a call after a wait for the application, the body or a connection: is it still good?

Rule 1: after a wait for the application or for the body that took a while the credential is found anew.
Rule 2: a token that has ended while a connection was waited for is replaced, a few times at most.
"""

from bff.credentials.credential import Anonymous, Refused, Signed
from bff.errors import Problem
from bff.policy.admission import Admitted, RequestHead
from bff.policy.fields import Header
from bff.proxy.forward.before_forward_hook import ask_before_forward
from bff.proxy.forward.destination import Destination
from bff.upstream.connection import UpstreamConnection

A_WHILE = 0.05  # seconds: a wait that took longer may have outlived the token that the call is to go with
_TRIES = 4  # to get a token that is still good once there is a connection


async def asked(
    destination: Destination,
    request: RequestHead,
    admitted: Admitted,
    credential: Signed | Anonymous,
    client: str,
) -> tuple[Signed | Anonymous, tuple[Header, ...]] | Refused:
    """Asks the application, where there is one; returns the credential, and the fields to add.

    An answer that took a while may have outlived the token or the session: the credential is found anew.
    """
    if destination.hooks is None:
        return credential, ()
    clock = destination.credentials.session.clock
    began = clock()
    added = await ask_before_forward(destination.hooks, request, admitted, credential)
    if not isinstance(added, Refused) and clock() - began >= A_WHILE:
        anew = await destination.credentials.find(request, admitted, client)
        if isinstance(anew, Refused):
            return anew
        if isinstance(anew, Anonymous) and isinstance(credential, Signed):  # the fields are about a user
            added = await ask_before_forward(destination.hooks, request, admitted, anew)
        credential = anew
    return added if isinstance(added, Refused) else (credential, added)


async def connection_for(
    destination: Destination, credential: Signed | Anonymous, client: str
) -> tuple[UpstreamConnection, Signed | Anonymous] | Refused:
    """Returns a connection and a credential for it, decided anew where its token has ended meanwhile.

    Tokens that have ended whenever they come are refused in the end, and not asked for without end.

    Raises:
        UpstreamFaultError: as `UpstreamPool.acquire` says.
    """
    for _ in range(_TRIES):
        connection = destination.pool.acquire_nowait(client) or await destination.pool.acquire(client)
        if not destination.credentials.over(credential):
            return connection, credential
        connection.put_back()  # others may have it meanwhile
        renewed = await destination.credentials.again(credential)
        if isinstance(renewed, Refused):
            return renewed
        credential = renewed
    return Refused(Problem.PROVIDER_UNAVAILABLE)
