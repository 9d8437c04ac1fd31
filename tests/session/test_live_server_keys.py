"""The server keys of a running process."""

import pytest
from pydantic import SecretStr

from bff.session.live_server_keys import LiveKeys
from bff.settings.server_keys import ServerKey
from tests.support.settings import KEY, OTHER

NOW = 1_800_000_000.0

pytestmark = pytest.mark.requirement("S-09")


class Instance:
    """A machine with a copy of the file, and what it was made to forget."""

    def __init__(self, *keys: ServerKey) -> None:
        self.now = NOW
        self.forgot = 0
        self.keys = LiveKeys(texts(*keys), lambda: self.now, self._forget)

    def _forget(self) -> None:
        self.forgot += 1

    def knows(self, handle: str) -> bool:
        return self.keys.keyring.accepts(handle.encode()) is not None


def texts(*keys: ServerKey) -> list[SecretStr]:
    return [SecretStr(key.line()) for key in keys]


def test_copies_that_arrive_at_different_times() -> None:
    """A new key with a lead is known to all before one of them signs with it."""
    former = ServerKey(KEY, until=NOW + 1000)
    early, late = Instance(ServerKey(KEY)), Instance(ServerKey(KEY))
    new = texts(ServerKey(OTHER, signs=NOW + 600), former)
    early.keys.take(new)
    assert late.knows(early.keys.keyring.new_handle())
    late.now = NOW + 500
    late.keys.take(new)
    early.now = NOW + 600
    early.keys.turn()
    handle = early.keys.keyring.new_handle()
    assert late.knows(handle)  # whose clock says that it does not sign yet
    assert early.knows(late.keys.keyring.new_handle())
    assert (0, 0) == (early.forgot, late.forgot)


def test_a_key_that_has_gone() -> None:
    """Taken out, or over: what it vouched for is forgotten, once."""
    instance = Instance(ServerKey(KEY))
    handle = instance.keys.keyring.new_handle()
    instance.keys.take(texts(ServerKey(OTHER), ServerKey(KEY, until=NOW + 10)))
    assert instance.knows(handle)
    assert 0 == instance.forgot
    instance.now = NOW + 10
    instance.keys.turn()
    instance.keys.turn()
    assert not instance.knows(handle)
    assert 1 == instance.forgot
