"""The parts that the endpoints share; `create_app` builds them once."""

from dataclasses import dataclass

from bff.issuer.accounts.accounts import Accounts
from bff.issuer.accounts.sign_in import SignInService
from bff.issuer.endpoints.browser import Browser
from bff.issuer.endpoints.pages import Pages
from bff.issuer.grants.engine import EndUser, ProtocolServer
from bff.issuer.grants.tokens import Minter
from bff.issuer.keys.keys import Keys
from bff.issuer.logout.termination import Termination
from bff.issuer.settings import IssuerSettings
from bff.issuer.store.store import Store


@dataclass(frozen=True, slots=True)
class IssuerContext:
    """The issuer's parts."""

    settings: IssuerSettings
    store: Store
    accounts: Accounts
    keys: Keys
    minter: Minter
    termination: Termination
    server: ProtocolServer
    browser: Browser
    pages: Pages
    sign_in_service: SignInService

    def end_user(self, cookie: str | None) -> EndUser | None:
        """Return the user who is signed in with this cookie; blocks."""
        sign_in = self.store.sign_in_sessions.find(cookie) if cookie else None
        account = self.accounts.find(sign_in.sub) if sign_in else None
        return EndUser(account, sign_in) if sign_in and account else None
