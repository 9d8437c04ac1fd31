"""Ends sign-ins before their time: by sign-out, reuse of a token, or a change of the account.

Rule 1: one sign-in ends as a whole, by its `sid`: the browser's cookie, the refresh families of all clients,
codes at hand, access tokens (by the mark that verifiers ask for); and nothing of another sign-in.
Rule 2: each end is an audit event, and the clients are told by a process that serves (`backchannel.py`).
"""

import time
from collections.abc import Callable, Collection

from bff.issuer.client_settings import ClientSettings
from bff.issuer.store.sign_in_sessions import Ended
from bff.issuer.store.store import Store
from bff.observe.logs import audit


class Termination:
    """The one place that ends sign-ins; calls block.

    Args:
        store: the sign-ins and tokens to end.
        clients: those that are registered; none for a caller that does not know them (a command without the
            settings of the issuer that serves): that issuer then finds the ones to be told.

    Attributes:
        on_end: called when there are clients to be told.
    """

    def __init__(self, store: Store, clients: Collection[ClientSettings]) -> None:
        self._store = store
        known = frozenset(one.client_id for one in clients if one.backchannel_logout_uri is not None)
        self._told = known if clients else None
        self.on_end: Callable[[], None] = _nothing

    def end_sign_in(self, sid: str, reason: str, **fields: str) -> Ended:
        """Ends one sign-in; for one that is over already it does nothing."""
        ended = self._store.sign_in_sessions.end(sid, reason, self._told, time.time())
        audit("sign_in_ended", sub=ended.sub, reason=reason, sid=sid, families=ended.families, **fields)
        if self._told is None or self._told & set(ended.clients):
            self.on_end()
        return ended

    def end_all(self, sub: str, reason: str, now: float) -> list[Ended]:
        """Ends all sign-ins of an account."""
        return [self.end_sign_in(sid, reason) for sid in self._store.sign_in_sessions.of(sub, now)]


def _nothing() -> None:
    """Does nothing: the clients are told by a process that serves."""
