"""What the endpoints answer for others' failures, and what the log says of it."""

import pytest

from bff.errors import ProviderUnavailableError
from bff.oidc.token_errors import ClientRefusedError
from bff.web.responses import provider_problem


def test_a_sign_in_that_meets_no_provider_is_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    """The page says 503, the log has the cause; a refusal has an event of its own, and no second one."""
    answer = provider_problem(ProviderUnavailableError("cannot be reached: connection refused", 7))
    written = "".join(capsys.readouterr())
    assert (503, "7") == (answer.status_code, answer.headers["retry-after"])
    assert "provider_unavailable" in written
    assert "connection refused" in written
    assert 503 == provider_problem(ClientRefusedError("answered 401")).status_code
    assert "" == "".join(capsys.readouterr())
