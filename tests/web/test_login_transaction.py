"""The sealed cookie of a sign-in under way."""

import json
from dataclasses import replace

import pytest

from bff.crypto import Keyring, new_secret
from bff.settings.model import ServerSettings, SessionSettings
from bff.web.login_transaction import Returned, Transaction, TransactionCookies, begin, is_restarted

NOW = 1000.0
KEYRING = Keyring([new_secret()])
SESSION = SessionSettings(max_transactions=2)


def cookies(public_url: str = "https://app.example") -> TransactionCookies:
    return TransactionCookies(KEYRING, ServerSettings(public_url=public_url), SESSION)


def header(*set_cookies: str | None) -> list[bytes]:
    return [(each or "").partition(";")[0].encode() for each in set_cookies]


def made(now: float = NOW) -> Transaction:
    return begin("/orders", {"max_age": "60", "acr_values": "a b"}, now)


@pytest.mark.requirement("O-01", "O-02")
def test_what_is_stored_is_read_back() -> None:
    """Everything, the provider's answer included."""
    transaction = replace(made(), returned=Returned(NOW + 1, "code", "https://id.example", None))
    assert [transaction] == cookies().read(header(cookies().store(transaction, NOW)), NOW)


@pytest.mark.requirement("B-02", "B-03", "B-07")
@pytest.mark.parametrize(
    ("public_url", "name", "secure"),
    [("https://app.example", "__Host-Http-bff-tx-", True), ("http://localhost:8080", "bff-tx-", False)],
)
def test_its_attributes(public_url: str, name: str, secure: bool) -> None:
    """Lax, so that the provider's redirect brings it; short-lived once done; Secure and prefixed on https."""
    stored = cookies(public_url).store(made().finished(), NOW + 100)
    assert stored is not None
    assert stored.startswith(name)
    assert secure is ("; Secure" in stored)
    assert "; Path=/; HttpOnly; SameSite=Lax" in stored
    assert stored.endswith("; Max-Age=500")
    assert "Domain" not in stored


@pytest.mark.requirement("B-08")
def test_nothing_of_it_can_be_read() -> None:
    """Neither from the cookie nor from its name, nor from what a traceback prints."""
    transaction = made()
    stored = cookies().store(transaction, NOW) or ""
    for secret in (transaction.state, transaction.nonce, transaction.code_verifier):
        assert secret not in stored
        assert secret not in repr(transaction)


def test_it_ends_with_its_lifetime() -> None:
    """On the server, whatever the browser does."""
    stored = header(cookies().store(made(), NOW))
    assert len(cookies().read(stored, NOW + 599)) == 1
    assert [] == cookies().read(stored, NOW + 600)


@pytest.mark.requirement("O-10")
def test_an_overdue_one_says_where_the_browser_was() -> None:
    """For a day, by its own state alone, and with nothing that opens anything; a done one not at all."""
    begun = made()
    kept = cookies().store(begun, NOW)
    assert (kept or "").endswith(f"; Max-Age={86400 + 600}")
    later = NOW + 86400
    overdue = cookies().overdue(header(kept), later, begun.state)
    assert replace(begun.finished(), created=later) == overdue
    assert cookies().overdue(header(kept), later, made().state) is None
    assert cookies().overdue(header(kept), later + 600, begun.state) is None
    assert cookies().overdue(header(cookies().store(begun.finished(), NOW)), NOW + 600, begun.state) is None


@pytest.mark.parametrize(
    "content", [b"[]", b"{}", b"x", b'{"returned":null,"acr_values":[]}', b'{"returned":1}']
)
def test_what_another_version_sealed_is_nothing(content: bytes) -> None:
    """It does not open, and is no error."""
    value = KEYRING.seal_cookie(b"sign-in transaction v1", content)
    assert [] == cookies().read([f"__Host-Http-bff-tx-{'0' * 16}={value}".encode()], NOW)


def test_a_cookie_sealed_for_another_purpose_is_nothing() -> None:
    """Keys are kept apart."""
    stored = cookies().store(made(), NOW) or ""
    plaintext = KEYRING.open_cookie(b"sign-in transaction v1", stored.partition(";")[0].partition("=")[2])
    assert plaintext is not None
    assert json.loads(plaintext)["return_to"] == "/orders"
    other = KEYRING.seal_cookie(b"logout continue v1", plaintext)
    name = stored.partition("=")[0]
    assert [] == cookies().read([f"{name}={other}".encode()], NOW)


def test_what_must_go_goes() -> None:
    """What does not open, then what is done, then the oldest; foreign names are left alone."""
    old, young, done = made(NOW), made(NOW + 2), replace(made(NOW + 3).finished())
    junk = f"__Host-Http-bff-tx-{'f' * 16}"
    given = header(cookies().store(old, NOW), cookies().store(young, NOW), cookies().store(done, NOW))
    given.append(f"{junk}=x; __Host-Http-bff-tx-evil=1; other=2".encode())
    cleared = cookies().make_room(given, NOW)
    assert {f"__Host-Http-bff-tx-{old.id}", f"__Host-Http-bff-tx-{done.id}", junk} == {
        each.partition("=")[0] for each in cleared
    }
    assert all(each.endswith("Max-Age=0") for each in cleared)
    assert [] == cookies().make_room([], NOW)


def test_a_finished_one_keeps_no_secret() -> None:
    """Only its name and where it led."""
    finished = replace(made(), returned=Returned(NOW, "code")).finished()
    assert ("", "", None, True) == (
        finished.nonce,
        finished.code_verifier,
        finished.returned,
        finished.done,
    )


def test_a_state_tells_a_restart() -> None:
    """By its first digit; the rest is random."""
    assert is_restarted(begin("/", {}, NOW, restarted=True).state)
    assert not is_restarted(begin("/", {}, NOW).state)
    assert begin("/", {"max_age": "soon"}, NOW).max_age is None
