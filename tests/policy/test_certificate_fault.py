"""Refused certificates, found behind the errors of clients."""

from ssl import SSLCertVerificationError

from bff.policy.certificate_fault import certificate_fault


def refusal(words: str) -> SSLCertVerificationError:
    error = SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = words
    return error


def test_it_is_found_in_the_chain() -> None:
    """By itself, as a cause, and as what went before; other errors have none."""
    behind, before = OSError("x"), ConnectionError("y")
    behind.__cause__ = refusal("certificate has expired")
    before.__context__ = behind
    for error in (refusal("certificate has expired."), behind, before):
        assert "certificate has expired" == certificate_fault(error)
    assert certificate_fault(ConnectionError("z")) is None
    assert certificate_fault(None) is None
