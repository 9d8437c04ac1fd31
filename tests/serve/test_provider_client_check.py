"""What an answer to the probing request says about the client."""

import json
from typing import Any

import pytest

from bff.oidc.http import Answer
from bff.serve.provider_client_check import judge

URI = "https://app.example/bff/callback"
REDIRECT = "Invalid parameter: redirect_uri"


@pytest.mark.parametrize(
    ("pushed", "status", "document", "ok", "fix"),
    [
        (True, 201, {"request_uri": "urn:x", "expires_in": 60}, True, ""),
        (True, 401, {"error": "invalid_client"}, False, "secret"),
        (True, 400, {"error": "invalid_request", "error_description": REDIRECT}, False, URI),
        (True, 400, {"error": "invalid_redirect_uri"}, False, URI),
        (True, 400, {"error": "unauthorized_client"}, False, "authorization code flow"),
        (True, 400, {"error": "invalid_scope"}, False, "log"),
        (False, 400, {"error": "invalid_grant"}, True, ""),
        (False, 400, {"error": "invalid_client"}, False, "secret"),
        (False, 401, {}, False, "secret"),
        (False, 400, {"error": "invalid_request"}, True, "log"),
        (False, 500, None, True, "log"),
    ],
)
def test_the_answer_tells(pushed: bool, status: int, document: Any, ok: bool, fix: str) -> None:
    """A refused client and a wrong redirect URI are told apart from each other and from the rest."""
    answer = Answer(status, {}, json.dumps(document).encode())
    check = judge(answer, "https://id.example", URI, set(), pushed=pushed)
    assert ok == check.ok
    assert fix in check.fix


def test_a_secret_that_is_echoed_is_not_shown() -> None:
    """Whatever the provider says, the secret is taken out."""
    document = {"error": "invalid_client", "error_description": "bad secret: s3cr3t-of-ours"}
    answer = Answer(401, {}, json.dumps(document).encode())
    check = judge(answer, "https://id.example", URI, {"s3cr3t-of-ours"}, pushed=False)
    assert "s3cr3t-of-ours" not in check.detail
    assert "invalid_client" in check.detail
