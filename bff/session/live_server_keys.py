"""The server keys of a running process: which of them sign and verify at this moment.

Rule 1: a key that is taken out of the file, or whose time has passed, ends the sessions it signed: those in
memory of this process, and their open streams and sockets, at once.
"""

from collections.abc import Callable, Sequence

from pydantic import SecretStr

from bff.crypto import Keyring
from bff.observe.logs import get_logger
from bff.settings.server_keys import ServerKey, in_force, parse_key

_log = get_logger("bff.session")


class LiveKeys:
    """The keys as the settings have them, and the key ring that follows them.

    Args:
        keys: the setting `session.keys`.
        clock: seconds since the epoch.
        forget: called after a key has gone.
    """

    def __init__(
        self, keys: Sequence[SecretStr], clock: Callable[[], float], forget: Callable[[], None] = lambda: None
    ) -> None:
        self._clock = clock
        self.forget = forget
        self._keys = _parsed(keys)
        self._secrets = self._current()
        self.keyring = Keyring(self._secrets)

    def take(self, keys: Sequence[SecretStr]) -> None:
        """Follows a change of the setting."""
        self._keys = _parsed(keys)
        self.turn()

    def turn(self) -> None:
        """Follows the clock: a key begins to sign, or its time has passed."""
        current = self._current()
        if current == self._secrets:
            return
        before = self.keyring.kids
        self.keyring.replace(current)
        self._secrets = current
        after = self.keyring.kids
        gone = [kid for kid in before if kid not in after]
        _log.info("server_keys_changed", signs=after[0], verify=after[1:], gone=gone)
        if gone:
            self.forget()

    def _current(self) -> list[str]:
        return [key.secret for key in in_force(self._keys, self._clock())]


def _parsed(keys: Sequence[SecretStr]) -> list[ServerKey]:
    return [parse_key(key.get_secret_value()) for key in keys]
