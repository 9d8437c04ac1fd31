"""Step-up: the demand for a stronger or fresher sign-in (RFC 9470). Pure.

Rule 1: a demand is a backend's challenge or a route's setting, and never a client's. A challenge that asks
for nothing, or cannot be read, is no demand.
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

_ERROR = re.compile(rb'\berror[ \t]*=[ \t]*"?insufficient_user_authentication\b', re.IGNORECASE)
_ACR = re.compile(
    rb'\bacr_values[ \t]*=[ \t]*(?:"([\x21\x23-\x5b\x5d-\x7e \t]{1,512})"|([!#-+./-9:A-Z^-z~-]{1,512}))'
)
_END_OF_TIME = 1e12  # seconds since the epoch
_MAX_AGE = re.compile(rb'\bmax_age[ \t]*=[ \t]*"?([0-9]{1,9})"?(?![0-9])')


@dataclass(frozen=True, slots=True)
class Demand:
    """The demand: one of these `acr` values, the first one preferred, and a sign-in of at most this age."""

    acr: tuple[str, ...] = ()
    max_age: int | None = None

    def query(self) -> str:
        """Returns the query that makes `/bff/login` ask for it."""
        wanted = {"acr_values": " ".join(self.acr)} if self.acr else {}
        age = {} if self.max_age is None else {"max_age": str(self.max_age)}
        return urlencode({"step_up": "1", **wanted, **age})

    def can_be_asked(self, login_params: Collection[str]) -> bool:
        """Returns True if sign-ins may carry the parameters that it takes."""
        return (not self.acr or "acr_values" in login_params) and (
            self.max_age is None or "max_age" in login_params
        )

    def met_until(self, claims: Mapping[str, Any]) -> float:
        """Returns until when a sign-in with these claims does, in seconds since the epoch; -inf: it does not.

        A claim that is missing means that it does not.
        """
        if self.acr and claims.get("acr") not in self.acr:
            return -math.inf
        if self.max_age is None:
            return math.inf
        at = claims.get("auth_time")
        if isinstance(at, bool) or not isinstance(at, int | float) or not abs(at) < _END_OF_TIME:
            return -math.inf  # no moment; NaN is none either
        return at + self.max_age


def challenged(headers: Iterable[tuple[bytes, bytes]]) -> Demand | None:
    """Returns the demand of a backend's 401; None where it has another reason (RFC 9470 3)."""
    for name, value in headers:
        if name == b"www-authenticate" and _ERROR.search(value):
            acr, age = _ACR.search(value), _MAX_AGE.search(value)
            values = (acr[1] or acr[2]).decode("ascii").split() if acr else []
            if values or age:
                return Demand(tuple(values), int(age[1]) if age else None)
    return None
