"""The cookie that proves a device, and the challenges for it."""

import re

import pytest

from bff.crypto import Keyring, new_secret
from bff.session import device_proof
from bff.session.device_proof import DeviceProof
from bff.settings.model import ServerSettings, SessionSettings

pytestmark = pytest.mark.requirement("P-12")
KEY, OTHER = "a" * 64, "b" * 64
NOW = 1_800_000_000.0


class Stage:
    """A proof maker, at a time that a test sets."""

    def __init__(self, public_url: str = "https://app.example", base_path: str = "") -> None:
        self.now = NOW
        self.keyring = Keyring([new_secret()])
        server = ServerSettings(public_url=public_url, base_path=base_path)
        self.proof = DeviceProof(self.keyring, server, SessionSettings(), lambda: self.now)

    def cookie(self, key: str = KEY) -> bytes:
        return self.proof.set(key).partition(";")[0].encode()


@pytest.mark.parametrize(
    ("public_url", "base_path", "name", "secure"),
    [
        ("https://app.example", "", "__Host-bff-bound", "; Secure"),
        ("https://app.example", "/shop/x", "__Host-bff.shop.x-bound", "; Secure"),
        ("http://localhost:8080", "", "bff-bound", ""),
    ],
)
def test_the_form_of_the_cookie(public_url: str, base_path: str, name: str, secure: str) -> None:
    """For the whole origin, for no script, and gone when the browser has to renew it."""
    proof = Stage(public_url, base_path).proof
    attributes = re.escape(f"Path=/; HttpOnly; SameSite=Strict{secure}")
    assert re.fullmatch(
        rf"{re.escape(name)}=1800000330\.[\w-]{{43}}; {attributes}; Max-Age=300", proof.set(KEY)
    )
    assert f"{name}=; {proof.attributes}; Max-Age=0" == proof.clear()


def test_a_proof_is_good_for_its_session_and_its_time() -> None:
    """A tenth longer than the browser keeps it, and not a second more; its second look is as its first."""
    stage = Stage()
    cookie = stage.cookie()
    for moment, good in ((0, True), (300, True), (329, True), (330, False), (3600, False)):
        stage.now = NOW + moment
        for _ in range(2):
            assert good is stage.proof.proved([b"x=1; " + cookie], KEY), moment
    stage.now = NOW
    assert not stage.proof.proved([cookie], OTHER)
    stage.proof.forget()
    assert not stage.proof.proved([cookie], OTHER)
    assert stage.proof.proved([cookie], KEY)


def test_what_proves_nothing() -> None:
    """No cookie, two, another's, one that was prolonged, cut or spelled otherwise, or of a key gone."""
    stage = Stage()
    cookie = stage.cookie()
    name, _, value = cookie.partition(b"=")
    ends, _, tag = value.partition(b".")
    wrong = [
        b"",
        b"; ".join([cookie, cookie]),
        b"%b=%d.%b" % (name, int(ends) + 1, tag),
        b"%b=0%b" % (name, value),
        cookie[:-1],
        cookie + b"A",
        b"%b=%b" % (name, b"9" * 400),
        name + b"=",
        stage.cookie(OTHER),
    ]
    for header in wrong:
        assert not stage.proof.proved([header], KEY), header
    assert not stage.proof.proved([cookie, cookie], KEY)
    stage.keyring.replace([new_secret()])
    stage.proof.forget()
    assert not stage.proof.proved([cookie], KEY)


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cookies that were checked are forgotten all at once when there are many; they stay good."""
    monkeypatch.setattr(device_proof, "_REMEMBERED", 3)
    stage = Stage()
    cookies = {f"{number:064x}": stage.cookie(f"{number:064x}") for number in range(9)}
    for key, cookie in [*cookies.items()] * 2:
        assert stage.proof.proved([cookie], key)
        assert len(stage.proof._known) <= 3


def test_challenges_are_for_one_use_of_one_session() -> None:
    """They end, and nothing but what was made here is one."""
    stage = Stage()
    text = stage.proof.challenge("refresh", KEY)
    read = stage.proof.read_challenge(text)
    assert stage.proof.fresh(read, "refresh", KEY)
    assert stage.proof.fresh(read, "refresh")
    assert not stage.proof.fresh(read, "register", KEY)
    assert not stage.proof.fresh(read, "refresh", OTHER)
    assert not stage.proof.fresh(None, "refresh", KEY)
    stage.now += stage.proof.challenge_lifetime
    assert not stage.proof.fresh(read, "refresh", KEY)
    assert text != stage.proof.challenge("refresh", KEY)
    register = text.replace("refresh", "register", 1)
    for wrong in (register, text.replace(KEY, OTHER), text[:-1] + "~", text + "A", "x", "", "é"):
        assert stage.proof.read_challenge(wrong) is None, wrong
