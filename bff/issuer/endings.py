"""Ends sign-ins before their time: sign-out, reuse of a token, and what is done to an account.

Rule 1: one sign-in ends as a whole, by its `sid`: the browser's cookie, the refresh families of all clients,
codes at hand, access tokens (by the mark that verifiers ask for); and nothing of another sign-in.
Rule 2: each end is an audit event.
"""

from bff.issuer.sign_ins import Ended
from bff.issuer.store import Store
from bff.observe.logs import audit


class Endings:
    """The one place that ends sign-ins; calls block."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def end_sign_in(self, sid: str, reason: str, **fields: str) -> Ended:
        """Ends one sign-in; one that is over already is ended again, which does nothing."""
        ended = self._store.sign_ins.end(sid, reason)
        audit("sign_in_ended", sub=ended.sub, reason=reason, sid=sid, families=ended.families, **fields)
        return ended

    def end_all(self, sub: str, reason: str, now: float, keep: str = "") -> list[Ended]:
        """Ends all sign-ins of an account, but for the `sid` to keep, if one is named."""
        return [self.end_sign_in(sid, reason) for sid in self._store.sign_ins.of(sub, now) if sid != keep]
