"""What the endpoints share: the parts that `create_app` builds once."""

from dataclasses import dataclass

from bff.issuer.accounts import Accounts
from bff.issuer.browser import Browser
from bff.issuer.endings import Endings
from bff.issuer.keys import Keys
from bff.issuer.pages import Pages
from bff.issuer.protocol import EndUser, ProtocolServer
from bff.issuer.settings import IssuerSettings
from bff.issuer.sign_in import SignInDesk
from bff.issuer.store import Store
from bff.issuer.tokens import Minter


@dataclass(frozen=True, slots=True)
class Parts:
    """The issuer's parts."""

    settings: IssuerSettings
    store: Store
    accounts: Accounts
    keys: Keys
    minter: Minter
    endings: Endings
    server: ProtocolServer
    browser: Browser
    pages: Pages
    desk: SignInDesk

    def end_user(self, cookie: str | None) -> EndUser | None:
        """Returns who is signed in with this cookie; blocks."""
        sign_in = self.store.sign_ins.find(cookie) if cookie else None
        account = self.accounts.find(sign_in.sub) if sign_in else None
        return EndUser(account, sign_in) if sign_in and account else None
