"""All that the issuer keeps in Redis, beside its accounts; see `database.py` for the keys."""

from dataclasses import dataclass
from typing import Self

from bff.issuer.codes import Codes
from bff.issuer.database import Database
from bff.issuer.families import Families
from bff.issuer.issued import Issued
from bff.issuer.logouts import LogoutJobs
from bff.issuer.pushed import PushedRequests
from bff.issuer.revocations import Revocations
from bff.issuer.sign_ins import SignIns


@dataclass(frozen=True, slots=True)
class Store:
    """The parts of the store, each for one kind of thing; synchronous, and shared between threads."""

    database: Database
    sign_ins: SignIns
    codes: Codes
    families: Families
    pushed: PushedRequests
    revocations: Revocations
    issued: Issued
    logouts: LogoutJobs

    @classmethod
    def on(cls, database: Database) -> Self:
        """Builds the parts on one connection."""
        logouts, revocations = LogoutJobs(database), Revocations(database)
        return cls(
            database,
            SignIns(database, logouts),
            Codes(database),
            Families(database),
            PushedRequests(database),
            revocations,
            Issued(database, revocations),
            logouts,
        )
