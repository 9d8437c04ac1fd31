"""What a set-up with JWTs has to get right, each in a few lines: real issuer, Redis, and service.

Alice signs in and calls a service that checks her access token. Where a token ends before its time, the
service has taken it before: what it remembers must not help.
"""

import base64
import json
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from bff.issuer.accounts.account_changes import AccountChanges
from bff.issuer.accounts.accounts import Account
from bff.issuer.keys.keys import SigningKey
from bff.issuer.store.redis import IssuerRedis
from bff.issuer.store.store import Store
from bff.verify import RedisRevocations, Refusal, TokenRefusedError, TokenVerifier
from tests.issuer.flow import CREDENTIALS, REDIRECT_URI, Person, payload_of
from tests.support.processes.redis import RedisServer
from tests.support.providers.issuer import ALICE, AUDIENCE, BOB, RunningIssuer, query_of, running_issuer
from tests.support.settings import PATIENCE

pytestmark = pytest.mark.requirement("J-12")
GOOD = None


class Service:
    """A backend service. `ahead` is how far its clock has gone on, in seconds."""

    def __init__(self, issuer: RunningIssuer, redis_url: str, audience: str = AUDIENCE) -> None:
        self.ahead = 0.0
        self.verifier = TokenVerifier(
            issuer=issuer.url,
            audience=audience,
            revocations=[RedisRevocations(redis_url, timeout=PATIENCE)],
            clock=lambda: time.time() + self.ahead,
        )

    async def says(self, token: str) -> Refusal | None:
        """Why the service refuses a token, or None where it takes it."""
        try:
            await self.verifier.verify(token)
        except TokenRefusedError as error:
            return error.refusal
        return GOOD


@pytest.fixture
async def service(issuer: RunningIssuer, redis_server: RedisServer) -> AsyncIterator[Service]:
    running = Service(issuer, redis_server.url)
    yield running
    await running.verifier.close()


@pytest.fixture
def operator(issuer: RunningIssuer, redis_server: RedisServer) -> Iterator[AccountChanges]:
    """Whoever looks after the accounts: what `bff issuer users` does."""
    with redis_server.client() as client:
        yield AccountChanges(client, issuer.settings, Store.on(IssuerRedis(client, "issuer")))


@pytest.fixture
def alice(operator: AccountChanges) -> Account:
    account = operator.accounts.named("alice")
    assert account is not None
    return account


def is_signed_in(person: Person) -> bool:
    """Whether the issuer knows the browser, without asking for a password."""
    return "code" in query_of(person.authorize(prompt="none").headers["location"])


def can_refresh(person: Person, tokens: dict[str, str]) -> bool:
    return person.refresh(tokens["refresh_token"]).status_code == 200


class Home:
    """Where Alice is signed in twice, and Bob once; the service knows all their tokens."""

    def __init__(self, service: Service, people: list[Person]) -> None:
        self._service = service
        *self._hers, self._his = [
            (person, person.tokens(who)) for person, who in zip(people, (ALICE, ALICE, BOB), strict=True)
        ]

    async def alice_is_out_everywhere(self) -> bool:
        """Neither her access tokens, nor her cookies, nor her refresh tokens are good for anything."""
        refused = [await self._service.says(tokens["access_token"]) for _, tokens in self._hers]
        known = any(is_signed_in(person) or can_refresh(person, tokens) for person, tokens in self._hers)
        return [Refusal.REVOKED, Refusal.REVOKED] == refused and not known

    async def bob_is_in(self) -> bool:
        """All of his works."""
        person, tokens = self._his
        taken = await self._service.says(tokens["access_token"]) is GOOD
        return taken and is_signed_in(person) and can_refresh(person, tokens)

    async def begin(self) -> None:
        """Lets the service see the tokens."""
        for _, tokens in (*self._hers, self._his):
            assert GOOD == await self._service.says(tokens["access_token"])


@pytest.fixture
async def home(service: Service, issuer: RunningIssuer) -> AsyncIterator[Home]:
    with Person(issuer) as phone, Person(issuer) as laptop, Person(issuer) as bobs:
        begun = Home(service, [phone, laptop, bobs])
        await begun.begin()
        yield begun


async def test_expired_token(service: Service, person: Person) -> None:
    """A token is refused once its time is over."""
    tokens = person.tokens()
    assert GOOD == await service.says(tokens["access_token"])
    service.ahead = tokens["expires_in"] + 10
    assert Refusal.EXPIRED == await service.says(tokens["access_token"])


async def test_tampered_signature(service: Service, person: Person) -> None:
    """A token with one changed claim, or one changed bit of its signature, is refused."""
    token = person.tokens()["access_token"]
    assert GOOD == await service.says(token)
    header, payload, signature = token.split(".")
    admin = {**payload_of(token), "role": "admin"}
    forged = base64.urlsafe_b64encode(json.dumps(admin).encode()).rstrip(b"=").decode()
    flipped = ("B" if signature[0] == "A" else "A") + signature[1:]
    assert Refusal.SIGNATURE == await service.says(f"{header}.{forged}.{signature}")
    assert Refusal.SIGNATURE == await service.says(f"{header}.{payload}.{flipped}")


async def test_wrong_audience(issuer: RunningIssuer, redis_server: RedisServer, person: Person) -> None:
    """A token for one service is refused by another."""
    other = Service(issuer, redis_server.url, audience="payments-api")
    assert Refusal.AUDIENCE == await other.says(person.tokens()["access_token"])
    await other.verifier.close()


async def test_wrong_issuer(redis_server: RedisServer) -> None:
    """A token of another issuer is refused, even if the two share a key."""
    key = SigningKey.generate()
    with (
        running_issuer(redis_server.url, (REDIRECT_URI,), key=key) as ours,
        running_issuer(redis_server.url, (REDIRECT_URI,), key=key, prefix="theirs") as theirs,
        Person(theirs) as person,
    ):
        service = Service(ours, redis_server.url)
        assert Refusal.ISSUER == await service.says(person.tokens()["access_token"])
        await service.verifier.close()


@pytest.mark.requirement("J-06")
async def test_revoked_jti(service: Service, person: Person, issuer: RunningIssuer) -> None:
    """A token that its client revoked is refused at once; the client's other tokens go on."""
    first = person.tokens()
    second = person.refresh(first["refresh_token"]).json()
    assert GOOD == await service.says(first["access_token"])
    person.http.post(f"{issuer.url}/revoke", data={"token": first["access_token"]}, auth=CREDENTIALS)
    assert Refusal.REVOKED == await service.says(first["access_token"])
    assert GOOD == await service.says(second["access_token"])


@pytest.mark.requirement("J-05")
async def test_reused_refresh_token(service: Service, person: Person) -> None:
    """When a used refresh token comes again one was stolen: nothing of that sign-in is good any more."""
    stolen = person.tokens()
    newer = person.refresh(stolen["refresh_token"]).json()
    assert GOOD == await service.says(newer["access_token"])
    assert not can_refresh(person, stolen)
    assert not can_refresh(person, newer)
    assert Refusal.REVOKED == await service.says(newer["access_token"])


@pytest.mark.requirement("J-07")
async def test_logout(service: Service, person: Person, issuer: RunningIssuer) -> None:
    """Signing out ends the browser's sign-in and its tokens, and leaves her other browser alone."""
    with Person(issuer) as laptop:
        here, there = person.tokens(), laptop.tokens()
        assert GOOD == await service.says(here["access_token"])
        person.http.get(f"{issuer.url}/end-session", params={"id_token_hint": here["id_token"]})
        assert Refusal.REVOKED == await service.says(here["access_token"])
        assert not is_signed_in(person)
        assert not can_refresh(person, here)
        assert GOOD == await service.says(there["access_token"])
        assert is_signed_in(laptop)
        assert can_refresh(laptop, there)


@pytest.mark.requirement("J-07")
async def test_password_change(home: Home, operator: AccountChanges, alice: Account) -> None:
    """A new password ends all that Alice has, in every browser, and nothing of Bob's."""
    operator.change_password(alice, "through the looking glass")
    assert await home.alice_is_out_everywhere()
    assert await home.bob_is_in()


@pytest.mark.requirement("J-07")
async def test_suspension(home: Home, operator: AccountChanges, alice: Account) -> None:
    """A suspension ends all that Alice has, in every browser, and nothing of Bob's."""
    operator.suspend(alice)
    assert await home.alice_is_out_everywhere()
    assert await home.bob_is_in()


@pytest.mark.requirement("J-07")
async def test_logout_everywhere(home: Home, operator: AccountChanges, alice: Account) -> None:
    """So does signing her out everywhere."""
    operator.log_out(alice)
    assert await home.alice_is_out_everywhere()
    assert await home.bob_is_in()


@pytest.mark.requirement("J-07")
async def test_lost_device(
    service: Service, person: Person, issuer: RunningIssuer, operator: AccountChanges, alice: Account
) -> None:
    """The sign-in of a lost phone ends alone, by its sid."""
    with Person(issuer) as phone:
        kept, lost = person.tokens(), phone.tokens()
        assert GOOD == await service.says(lost["access_token"])
        operator.end_device(alice, payload_of(lost["access_token"])["sid"])
        assert Refusal.REVOKED == await service.says(lost["access_token"])
        assert not is_signed_in(phone)
        assert not can_refresh(phone, lost)
        assert GOOD == await service.says(kept["access_token"])
        assert is_signed_in(person)
        assert can_refresh(person, kept)


@pytest.mark.requirement("J-06")
async def test_a_revocation_list_that_cannot_be_read(
    service: Service, person: Person, redis_server: RedisServer
) -> None:
    """Not to know whether a token was revoked is no reason to take it: 503, until the list is back."""
    token = person.tokens()["access_token"]
    assert GOOD == await service.says(token)
    redis_server.stop()
    assert Refusal.UNAVAILABLE == await service.says(token)
    redis_server.start()
    assert GOOD == await service.says(token)
