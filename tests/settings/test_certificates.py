"""The certificates that routes name."""

from pathlib import Path

import pytest

from bff.settings.load import load_all
from bff.settings.problem import SettingsError
from tests.support.network.tls import encrypted_key, self_signed
from tests.support.settings import GOOD, secret, write


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_routes_certificates_must_be_usable(tmp_path: Path) -> None:
    """A CA or a client certificate that cannot be used is said before anybody calls; a key for all, too."""
    made = self_signed(tmp_path)
    both = secret("both.pem", made.key.read_text() + made.cert.read_text())

    def found(**files: str | Path) -> list[str]:
        lines = "".join(f'{key} = "{path}"\n' for key, path in files.items())
        text = f'{GOOD}[[route]]\npath = "/api"\nupstream = "https://backend:8000"\n{lines}'
        try:
            return [f"warning {warning.key}" for warning in load_all(write(text), {}).warnings]
        except SettingsError as error:
            return [problem.key for problem in error.problems]

    made.key.chmod(0o600)
    assert [] == found(ca_file=made.cert, client_cert_file=made.cert, client_key_file=made.key)
    assert [] == found(client_cert_file=both)
    assert ["route[0].ca_file"] == found(ca_file="/nonexistent")
    assert ["route[0].client_cert_file"] == found(client_cert_file="/nonexistent", client_key_file=made.key)
    assert ["route[0].client_key_file"] == found(client_cert_file=made.cert, client_key_file="/nonexistent")
    assert ["route[0].client_cert_file"] == found(client_cert_file=made.cert)
    assert ["route[0].client_cert_file"] == found(client_cert_file=made.cert, client_key_file=made.cert)
    locked = encrypted_key(made)
    assert ["route[0].client_cert_file"] == found(client_cert_file=made.cert, client_key_file=locked)
    made.key.chmod(0o644)
    assert ["warning route[0].client_key_file"] == found(client_cert_file=made.cert, client_key_file=made.key)
    both.chmod(0o644)
    assert ["warning route[0].client_cert_file"] == found(client_cert_file=both)
    made.key.chmod(0o602)
    assert ["route[0].client_key_file"] == found(client_cert_file=made.cert, client_key_file=made.key)
    made.key.chmod(0o600)
    made.cert.chmod(0o666)
    assert ["route[0].client_cert_file"] == found(client_cert_file=made.cert, client_key_file=made.key)
    assert ["route[0].ca_file"] == found(ca_file=made.cert)
