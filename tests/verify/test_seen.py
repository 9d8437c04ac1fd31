"""Tokens that were seen before: checked once, and good no longer than they are."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
from joserfc.jwk import ECKey

from bff.verify import Refusal, TokenRefusedError, TokenVerifier, jws
from bff.verify import verifier as module
from tests.support.providers.issuer import AUDIENCE
from tests.verify.tokens import ISSUER, KEY, NOW, OTHER, Documents, token

TEXT = token()


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


class Counted:
    """How often a signature was checked, and the steady clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.signatures = 0
        self.steady = 0.0
        check = jws.is_signed

        def counted(*args: Any) -> bool:
            self.signatures += 1
            return check(*args)

        monkeypatch.setattr(module, "is_signed", counted)
        clock = SimpleNamespace(time=time.time, monotonic=lambda: self.steady)
        monkeypatch.setattr("bff.verify.verifier.time", clock)


@pytest.fixture(name="counted")
def _counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


def checks(documents: Documents | None = None, clock: Clock | None = None, **options: Any) -> TokenVerifier:
    fetch = (documents or Documents(KEY)).get
    return TokenVerifier(issuer=ISSUER, audience=AUDIENCE, fetch=fetch, clock=clock or Clock(), **options)


async def refused(verifier: TokenVerifier, text: str) -> Refusal:
    with pytest.raises(TokenRefusedError) as caught:
        await verifier.verify(text)
    return caught.value.refusal


@pytest.mark.requirement("J-06")
async def test_a_signature_is_checked_once(counted: Counted) -> None:
    """The same token again costs a look; another one, or one that was refused, is checked."""
    verifier = checks()
    first = await verifier.verify(TEXT)
    assert first is await verifier.verify(TEXT)
    assert 1 == counted.signatures
    forged = TEXT[:-6] + ("A" if TEXT[-6] != "A" else "B") + TEXT[-5:]
    for _ in range(2):
        assert Refusal.SIGNATURE == await refused(verifier, forged)
    assert 3 == counted.signatures


async def test_a_remembered_token_ends_with_its_own_end(counted: Counted) -> None:
    """To the second, leeway included, and it is told apart from a forged one."""
    clock = Clock()
    verifier = checks(clock=clock)
    await verifier.verify(TEXT)
    clock.now = NOW + 54.9
    await verifier.verify(TEXT)
    clock.now = NOW + 55
    assert Refusal.EXPIRED == await refused(verifier, TEXT)
    assert 0 == len(verifier._seen)
    assert 2 == counted.signatures


async def test_what_is_remembered_is_bounded(counted: Counted) -> None:
    """What was not asked for longest goes first; with 0 nothing is remembered."""
    verifier = checks(remembered=2)
    one, two, three = (token(jti=name) for name in ("one", "two", "three"))
    for text in (one, two, one, three):
        await verifier.verify(text)
    assert (2, 3) == (len(verifier._seen), counted.signatures)
    await verifier.verify(one)
    assert 3 == counted.signatures
    await verifier.verify(two)
    assert 4 == counted.signatures
    forgetful = checks(remembered=0)
    for _ in range(2):
        await forgetful.verify(one)
    assert (0, 6) == (len(forgetful._seen), counted.signatures)


@pytest.mark.requirement("J-06", "J-09")
async def test_a_key_that_was_withdrawn_vouches_for_nothing(counted: Counted) -> None:
    """When the issuer takes a key back, tokens that it signed end with the next fetch, remembered or not."""
    documents = Documents(KEY)
    verifier = checks(documents, fresh=60)
    await verifier.verify(TEXT)
    documents.keys = [ECKey.generate_key("P-256", {"kid": "two"})]
    counted.steady = 61
    await verifier.verify(TEXT)  # the keys are fetched beside this one
    await verifier._keys.settled()
    assert Refusal.UNKNOWN_KEY == await refused(verifier, TEXT)


@pytest.mark.requirement("J-09")
async def test_the_same_keys_again_change_nothing(counted: Counted) -> None:
    """A fetch that brings what was known does not cost every token its signature."""
    documents = Documents(KEY)
    verifier = checks(documents, fresh=60)
    for steady in (0.0, 61.0, 62.0, 122.0):
        counted.steady = steady
        await verifier.verify(TEXT)
        await verifier._keys.settled()
    assert (1, 3) == (counted.signatures, documents.asked.count(f"{ISSUER}/jwks"))


@pytest.mark.requirement("J-09")
async def test_remembered_tokens_do_not_outlive_the_keys(counted: Counted) -> None:
    """Keys that have not been confirmed for too long vouch for no token, an old acquaintance included."""
    documents = Documents(KEY)
    verifier = checks(documents, fresh=60, stale=600)
    await verifier.verify(TEXT)
    documents.down = True
    counted.steady = 600
    await verifier.verify(TEXT)
    await verifier._keys.settled()
    counted.steady = 601
    assert Refusal.UNAVAILABLE == await refused(verifier, TEXT)


@pytest.mark.requirement("J-09")
async def test_keys_vouch_for_a_day_where_nothing_else_is_said(counted: Counted) -> None:
    """An issuer that cannot be asked is believed no longer."""
    documents = Documents(KEY)
    verifier = checks(documents)
    await verifier.verify(TEXT)
    documents.down = True
    counted.steady = 86_400
    await verifier.verify(TEXT)
    await verifier._keys.settled()
    counted.steady = 86_401
    assert Refusal.UNAVAILABLE == await refused(verifier, TEXT)


@pytest.mark.requirement("J-06", "J-09")
async def test_a_key_exchanged_under_its_name_vouches_for_nothing(counted: Counted) -> None:
    """Another key under the same `kid`: what the former one signed is checked anew, and refused."""
    documents = Documents(KEY)
    verifier = checks(documents, fresh=60)
    await verifier.verify(TEXT)
    documents.keys = [OTHER]
    counted.steady = 61
    await verifier.verify(TEXT)  # the keys are fetched beside this one
    await verifier._keys.settled()
    assert Refusal.SIGNATURE == await refused(verifier, TEXT)
    assert "the-jti" == (await verifier.verify(token(key=OTHER))).jti
