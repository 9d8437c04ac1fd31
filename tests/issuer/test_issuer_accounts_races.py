"""Accounts that change while people sign in, exchange codes and refresh, as fast as they can."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from bff.issuer.accounts.account_changes import AccountChanges
from bff.issuer.settings import SignInLimits
from bff.issuer.store.redis import IssuerRedis
from bff.issuer.store.store import Store
from tests.issuer.flow import REDIRECT_URI, Person, payload_of
from tests.support.processes.redis import RedisServer
from tests.support.providers.issuer import ALICE, BOB, query_of, running_issuer, sign_in_at

CROWD = 6


class Hasty:
    """Somebody who signs in, takes tokens and refreshes them, again and again, and keeps what they got."""

    def __init__(self, person: Person, who: tuple[str, str]) -> None:
        self.person, self.who = person, who
        self.tokens: list[dict[str, str]] = []
        self.cookies: list[str] = []
        self.refused = 0

    def go_on(self, until: threading.Event) -> None:
        while not until.is_set() or not self.refused:
            page = self.person.authorize(prompt="login")
            answer = sign_in_at(page, self.person.http, self.who)
            if answer.status_code != 303:
                self.refused += 1
                continue
            self.cookies.append(self.person.http.cookies["issuer-session"])
            exchanged = self.person.exchange(query_of(answer.headers["location"])["code"])
            if exchanged.status_code == 200:
                self.tokens.append(exchanged.json())
                refreshed = self.person.refresh(self.tokens[-1]["refresh_token"])
                if refreshed.status_code == 200:
                    self.tokens.append(refreshed.json())
            if len(self.cookies) % 3 == 0:
                self.person.http.cookies.clear()  # a new sid, not the former one's


@pytest.mark.requirement("J-07")
@pytest.mark.parametrize("change", ["password", "suspension"])
def test_nothing_of_before_survives_a_change(redis_server: RedisServer, change: str) -> None:
    """Whatever was under way when it came: no cookie, family or access token of before is good afterwards."""
    generous = SignInLimits(per_address=100_000, per_account=100_000, per_pair=50_000, per_device=100_000)
    with (
        ExitStack() as stack,
        running_issuer(redis_server.url, (REDIRECT_URI,), sign_in_limits=generous) as issuer,
        redis_server.client() as client,
    ):
        store = Store.on(IssuerRedis(client, "issuer"))
        operator = AccountChanges(client, issuer.settings, store)
        alice = operator.accounts.named(ALICE[0])
        assert alice is not None
        bob = stack.enter_context(Person(issuer))
        bobs = bob.tokens(BOB)
        crowd = [Hasty(stack.enter_context(Person(issuer)), ALICE) for _ in range(CROWD)]
        changed = threading.Event()
        with ThreadPoolExecutor(CROWD) as pool:
            running = [pool.submit(one.go_on, changed) for one in crowd]
            while sum(len(one.tokens) for one in crowd) < 4 * CROWD:
                assert not any(one.done() for one in running)
                time.sleep(0.005)
            if change == "password":
                operator.change_password(alice, "through the looking glass")
            else:
                operator.suspend(alice)
            changed.set()
            for one in running:
                one.result(60)
        for each in crowd:
            for tokens in each.tokens:
                assert store.sign_in_sessions.has_ended(payload_of(tokens["access_token"])["sid"])
                assert "invalid_grant" == each.person.refresh(tokens["refresh_token"]).json()["error"]
            assert not any(store.sign_in_sessions.find(cookie) for cookie in each.cookies)
        assert 200 == bob.refresh(bobs["refresh_token"]).status_code
        left = [client.hget(key, "record") or "" for key in client.scan_iter("issuer:family:*")]
        left += [client.get(key) or "" for key in client.scan_iter("issuer:session:*")]
        assert [] == [record for record in left if '"alice"' in record]
