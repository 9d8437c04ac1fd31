"""What a refusal of the token endpoint means, and what the log says about it."""

from typing import Any

import pytest

from bff.errors import ProviderUnavailableError
from bff.oidc.http import AnswerLateError, AnswerLostError
from bff.oidc.requests import Client, refresh_form, secrets_of
from bff.oidc.token_errors import (
    BadRequestError,
    BusyError,
    ClientRefusedError,
    FailedError,
    GrantRefusedError,
    InvalidGrant,
    PassingError,
    SignInRequired,
    parse_error_code,
    parse_error_description,
    refusal,
    refuses_client,
    says_error,
    told,
)

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"


@pytest.mark.requirement("T-07", "T-16", "T-20")
@pytest.mark.parametrize(
    ("expected", "status", "document"),
    [
        (InvalidGrant, 400, {"error": "invalid_grant"}),
        (InvalidGrant, 403, {"error": "invalid_grant", "suberror": "consent_required"}),
        (InvalidGrant, 200, {"error": "invalid_grant"}),
        (SignInRequired, 400, {"error": "interaction_required"}),
        (SignInRequired, 200, {"error": "login_required"}),
        (SignInRequired, 403, {"error": "password_change_required"}),
        (ClientRefusedError, 401, {"error": "invalid_client"}),
        (ClientRefusedError, 400, {"error": "invalid_client"}),
        (GrantRefusedError, 400, {"error": "client_authentication_required"}),
        (GrantRefusedError, 400, {"code": 400, "error_code": "refresh_token_not_found"}),
        (GrantRefusedError, 400, "invalid_grant"),
        (GrantRefusedError, 400, None),
        (GrantRefusedError, 400, ["invalid_grant"]),
        (GrantRefusedError, 400, {"error": ["invalid_grant"]}),
        (GrantRefusedError, 400, {"error": "Invalid Grant"}),
        (GrantRefusedError, 401, {"error": "invalid_token"}),
        (GrantRefusedError, 404, None),
        (GrantRefusedError, 422, {"type": "about:blank", "title": "Unprocessable"}),
        (BadRequestError, 400, {"error": "invalid_request"}),
        (PassingError, 400, {"error": "temporarily_unavailable"}),
        (PassingError, 200, {"error": "server_error"}),
        (PassingError, 302, None),
        (PassingError, 408, None),
        (PassingError, 425, None),
        (PassingError, 400, {"error": "slow_down"}),
        (SignInRequired, 400, {"error": "consent_required"}),
        (SignInRequired, 400, {"error": "mfa_required"}),
        (SignInRequired, 400, {"error": "account_selection_required"}),
        (SignInRequired, 401, {"error": "insufficient_user_authentication"}),
        (SignInRequired, 400, {"error": "unmet_authentication_requirements"}),
        (BusyError, 429, {"error": "invalid_grant"}),
        (FailedError, 503, {"error": "invalid_grant"}),
        (AnswerLostError, 500, {"error": "invalid_grant"}),
        (AnswerLostError, 502, None),
        (AnswerLostError, 599, None),
        (AnswerLateError, 504, None),
    ],
)
def test_each_refusal_means_one_thing(expected: type[Any], status: int, document: Any) -> None:
    """By status and error code; a 2xx with an error is that error."""
    assert says_error(status, document)
    assert expected is type(refusal(status, document, None))


@pytest.mark.parametrize(
    "document", [{"access_token": "a"}, {"access_token": "a", "error": "x"}, {"error": None}, [], {}]
)
def test_what_is_no_refusal(document: Any) -> None:
    """A token is a token, whatever stands beside it; what holds neither cannot be used, and is told so."""
    assert not says_error(200, document)


@pytest.mark.parametrize(("expected", "status"), [(7.0, 429), (7.0, 503), (None, 500), (None, 400)])
def test_only_who_is_busy_is_waited_for(expected: float | None, status: int) -> None:
    """`Retry-After` of other answers is not one to everybody."""
    refused = refusal(status, None, 7.0)
    assert isinstance(refused, ProviderUnavailableError)
    assert expected == refused.retry_after


@pytest.mark.parametrize(
    ("expected", "document"),
    [
        ("invalid_grant", {"error": "invalid_grant"}),
        ("urn:x:InvalidToken-2", {"error": "urn:x:InvalidToken-2"}),
        (None, {"error": "two words"}),
        (None, {"error": "x" * 65}),
        (None, {"error": 7}),
        (None, "invalid_grant"),
    ],
)
def test_an_error_code_looks_like_one(expected: str | None, document: Any) -> None:
    """It goes into the log: one word, and short."""
    assert expected == parse_error_code(document)


@pytest.mark.parametrize(
    ("expected", "document"),
    [
        ("Token is not active", {"error_description": "Token is not active"}),
        ("Not Found", {"error_code": "refresh_token_not_found", "msg": "Not Found"}),
        ("refresh_token_not_found, sorry", {"detail": "refresh_token_not_found, sorry"}),
        ("the title", {"title": "the title", "error_description": ""}),
        ("[…] is unknown", {"error_description": "r3fr3sh is unknown"}),
        ("no […] here", {"error_description": f"no {JWT} here"}),
        ("no […] here", {"error_description": "no dGhpcyBpcyBhIHNlY3JldA== here"}),
        ("two lines  or three", {"error_description": "two lines\r\nor three"}),
        ("x y" * 66 + "x ", {"error_description": "x y" * 5000}),
        (None, {"error_description": {"secret": "x"}}),
        (None, {"error_description": None}),
        (None, {"error_description": 7}),
        (None, {"error_description": ["one", "two"]}),
        ("one", {"error_description": 7, "detail": "one"}),
        (None, "Token is not active"),
    ],
)
def test_a_description_is_fit_for_a_log(expected: str | None, document: Any) -> None:
    """Short, on one line, without what was sent, and without what looks like a token."""
    form = refresh_form(Client("id", "hush"), refresh_token="r3fr3sh")
    assert expected == parse_error_description(document, secrets_of(form))


@pytest.mark.parametrize(
    ("helps", "client", "code"),
    [
        (True, Client("id", "a+bc"), "invalid_client"),
        (True, Client("a:b", "secret"), "invalid_client"),
        (True, Client("id", "50%x"), "invalid_client"),
        (True, Client("id", "two words"), "invalid_client"),
        (False, Client("id", "s3cr3t-._~"), "invalid_client"),
        (False, Client("id", "a+bc"), "invalid_grant"),
        (False, Client("id", "a+bc", "client_secret_post"), "invalid_client"),
        (False, Client("id", "", "private_key_jwt", "a+bc"), "invalid_client"),
    ],
)
def test_the_log_says_what_may_help(helps: bool, client: Client, code: str) -> None:
    """Some providers do not undo the form encoding of `client_secret_basic` (RFC 6749 2.3.1)."""
    fields = told(401, {"error": code, "error_description": f"bad {client.secret}"}, client=client)
    assert helps is ("client_secret_post" in str(fields.get("hint", "")))
    assert not client.secret or client.secret not in str(fields["description"])


@pytest.mark.parametrize(
    ("expected", "document"),
    [
        (True, {"error": "invalid_client"}),
        (True, {"error": "unauthorized_client"}),
        (True, {"error": "invalid_redirect_uri"}),
        (True, {"error": "redirect_uri_mismatch"}),
        (True, {"error": "invalid_request", "error_description": "Invalid parameter: Redirect_URI"}),
        (False, {"error": "invalid_request", "error_description": "the scope is malformed"}),
        (False, {"error": "invalid_request"}),
        (False, {"error": "invalid_grant", "error_description": "redirect_uri differs"}),
        (False, {"error": "access_denied"}),
        (False, None),
    ],
)
def test_what_is_about_the_client(*, expected: bool, document: Any) -> None:
    """The operator has to mend it: nobody who signs in can."""
    assert expected is refuses_client(document)
