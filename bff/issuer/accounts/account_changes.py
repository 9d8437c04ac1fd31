"""Changes of an account, together with the sign-ins that end by them.

Rule 1: the account is changed first, and with it its generation; then its sign-ins end. A sign-in that begins
in between finds the change (sign_in.py).
Rule 2: sign-ins of other accounts stay; for a lost device only its own sign-in ends.
Rule 3: each change is an audit event.
"""

import time

import redis

from bff.issuer.accounts.accounts import Account, AccountError, Accounts
from bff.issuer.accounts.passwords import check_new
from bff.issuer.accounts.rate_limits import SignInLimiter
from bff.issuer.logout.termination import Termination
from bff.issuer.settings import IssuerSettings, UserSettings
from bff.issuer.store.sign_in_sessions import Ended, Standing
from bff.issuer.store.store import Store
from bff.observe.logs import audit


class AccountChanges:
    """Changes accounts; calls block."""

    def __init__(self, client: "redis.Redis", settings: IssuerSettings, store: Store) -> None:
        self._accounts = Accounts(client, settings.prefix, settings.password_cost)
        self._limiter = SignInLimiter(client, settings.prefix, settings.sign_in_limits)
        self._sign_in_sessions = store.sign_in_sessions
        self._termination = Termination(store, settings.clients)

    @property
    def accounts(self) -> Accounts:
        """The accounts, for reading."""
        return self._accounts

    def add(self, user: UserSettings) -> Account:
        """Makes an account; raises AccountError if it is refused, PasswordRefusedError for a bad password."""
        check_new(user.password.get_secret_value(), user.email, user.name)
        account = self._accounts.add(user, time.time())
        audit("account_added", sub=account.sub)
        return account

    def change_password(self, account: Account, password: str) -> list[Ended]:
        """Replaces the password and ends every sign-in; PasswordRefusedError for a bad one."""
        check_new(password, account.email, account.name)
        now = time.time()
        self._accounts.set_password(account.sub, password, now)
        self._limiter.forget(account.email)
        audit("password_changed", sub=account.sub)
        return self._termination.end_all(account.sub, "password_changed", now)

    def suspend(self, account: Account) -> list[Ended]:
        """Suspends the account and ends every sign-in; a repeated call ends those that are left."""
        now = time.time()
        self._accounts.suspend(account.sub, now)
        audit("account_suspended", sub=account.sub)
        return self._termination.end_all(account.sub, "suspended", now)

    def resume(self, account: Account) -> None:
        """Takes a suspension back; ended sign-ins stay ended."""
        self._accounts.resume(account.sub)
        audit("account_resumed", sub=account.sub)

    def log_out(self, account: Account) -> list[Ended]:
        """Ends every sign-in, and those under way."""
        self._accounts.raise_generation(account.sub)
        return self._termination.end_all(account.sub, "signed_out_everywhere", time.time())

    def end_device(self, account: Account, sid: str) -> Ended:
        """Ends one sign-in of the account, as a lost device's; raises AccountError for an unknown one."""
        if sid not in self._sign_in_sessions.of(account.sub, time.time()):
            raise AccountError(f"{account.email} has no sign-in {sid}.")
        return self._termination.end_sign_in(sid, "device_lost")

    def standing(self, account: Account) -> list[Standing]:
        """The account's sign-ins, the latest first."""
        return self._sign_in_sessions.tell(account.sub, time.time())
