"""The log says why a client was refused, and shows no credential."""

import json
from typing import Any

import pytest

from bff.observe.logs import configure
from bff.settings.model import LogSettings
from tests.issuer.flow import Person
from tests.support.providers.issuer import CLIENT_ID


@pytest.fixture(autouse=True)
def logged() -> None:
    configure(LogSettings(format="json"))


def refusals(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    found = [line for line in lines if line["event"] == "client_refused"]
    assert "hunter2" not in json.dumps(found)
    return found


@pytest.mark.requirement("B-24")
@pytest.mark.parametrize(
    ("credentials", "form", "client", "words"),
    [
        ((CLIENT_ID, "hunter2"), {}, CLIENT_ID, "its secret is wrong"),
        (("spa-bfff", "hunter2"), {}, "spa-bfff", f"is it {CLIENT_ID}?"),
        (("nobody", "hunter2"), {}, "nobody", "no such client is registered"),
        (None, {"client_id": CLIENT_ID}, CLIENT_ID, "no credentials"),
        (None, {}, None, "does not say who it is"),
        (("hunter2 hunter2", "x"), {}, None, "no such client is registered"),
    ],
)
def test_a_client_that_does_not_show_who_it_is(  # noqa: PLR0917 - fixtures and cases
    person: Person,
    capsys: pytest.CaptureFixture[str],
    credentials: tuple[str, str] | None,
    form: dict[str, str],
    client: str | None,
    words: str,
) -> None:
    """Which one it says it is, and what is wrong: the secret, the name, or that there is nothing."""
    answer = person.token({"grant_type": "refresh_token", "refresh_token": "hunter2", **form}, credentials)
    assert "invalid_client" == answer.json()["error"]
    (line,) = refusals(capsys)
    assert (client, "invalid_client", "refresh_token", "warning") == (
        line["client_id"],
        line["error"],
        line["grant_type"],
        line["level"],
    )
    assert words in line["reason"]


def test_a_redirect_that_is_not_registered(person: Person, capsys: pytest.CaptureFixture[str]) -> None:
    """The page tells the person, the log the operator."""
    assert 400 == person.authorize(redirect_uri="http://localhost/elsewhere").status_code
    (line,) = refusals(capsys)
    assert (CLIENT_ID, "This redirect URI is not registered for the client.") == (
        line["client_id"],
        line["reason"],
    )


def test_what_happens_every_day_is_no_warning(person: Person, capsys: pytest.CaptureFixture[str]) -> None:
    """A refresh token that is over, a silent sign-in that finds nobody."""
    assert "invalid_grant" == person.refresh("hunter2").json()["error"]
    person.authorize(prompt="none")
    assert ["info", "info"] == [line["level"] for line in refusals(capsys)]


def test_an_authorization_request_that_is_wrong(person: Person, capsys: pytest.CaptureFixture[str]) -> None:
    """It is answered by a redirect, which no operator sees."""
    person.authorize(response_type="token")
    (line,) = refusals(capsys)
    assert (CLIENT_ID, "unsupported_response_type", "warning") == (
        line["client_id"],
        line["error"],
        line["level"],
    )
