"""A provider that breaks `profile = "fapi2"`; authorization details that a page asks for by a name."""

import json
import ssl
from base64 import urlsafe_b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from structlog.testing import capture_logs

from bff.oidc.metadata import Metadata
from bff.policy.return_to import named_details
from bff.settings.model import ProviderSettings
from bff.web.callback_page import another_answered
from bff.web.login_transaction import Returned
from tests.support.network.tls import self_signed
from tests.support.processes.redis import RedisServer
from tests.support.providers.provider import KEY, ServedProvider
from tests.web.site import query, running_site

ISSUER = "https://id.example"
METADATA = Metadata(ISSUER, f"{ISSUER}/authorize", f"{ISSUER}/token", f"{ISSUER}/jwks")


@pytest.mark.requirement("P-05")
@pytest.mark.parametrize(
    ("profile", "iss", "refused"),
    [
        ("none", None, None),
        ("none", "https://evil.example", "iss"),
        ("fapi2", None, "iss"),
        ("fapi2", "https://evil.example", "iss"),
        ("fapi2", ISSUER, None),
    ],
)
def test_an_answer_without_iss_is_no_answer(profile: str, iss: str | None, refused: str | None) -> None:
    """Whatever the provider's document promises: under the profile `iss` must be there, and ours."""
    settings = ProviderSettings.model_validate({"issuer": ISSUER, "client_id": "c", "profile": profile})
    assert refused == another_answered(
        settings, METADATA, Returned(0.0, "code", iss), own=False, several=False
    )


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ([], ""),
        (["payments"], "payments"),
        (["others"], None),
        (["payments", "payments"], None),
        (['[{"type":"payment"}]'], None),
    ],
)
def test_a_page_names_details_and_writes_none(asked: list[str], name: str | None) -> None:
    """A name that the settings have, once; everything else is refused."""
    assert name == named_details([("authorization_details", value) for value in asked], {"payments": ()})


async def test_a_page_asks_for_a_set_by_its_name(redis_server: RedisServer, provider: ServedProvider) -> None:
    """It goes to the provider beside those of each sign-in; no text of a page does."""
    async with running_site(
        redis_server,
        provider,
        authorization_details=[{"type": "accounts"}],
        login_authorization_details={"payments": [{"type": "payment"}]},
    ) as site:
        browser = site.browser()
        location = await site.login(browser, "/bff/login?authorization_details=payments")
        details = [each["type"] for each in json.loads(query(location)["authorization_details"])]
        assert ["accounts", "payment"] == details
        plain = query(await site.login(site.browser()))
        assert [{"type": "accounts"}] == json.loads(plain["authorization_details"])
        for bad in ("others", "%5B%7B%22type%22%3A%22payment%22%7D%5D"):
            answer = await browser.get(f"/bff/login?authorization_details={bad}", origin="none")
            assert (400, "bad_request") == (answer.status_code, answer.json()["code"])


def jwt_of(claims: dict[str, Any]) -> str:
    """A token whose claims can be read; nobody here checks its signature."""
    return jwt.encode({"alg": "RS256", "kid": "one"}, claims, KEY)


@pytest.mark.requirement("P-04", "P-05")
@pytest.mark.parametrize(
    ("claims", "told"),
    [
        (None, False),
        ({"cnf": {"x5t#S256": "ours"}}, False),
        ({"cnf": {"x5t#S256": "a" * 43}}, True),
        ({"sub": "alice"}, True),
        ({"cnf": {"jkt": "a" * 43}}, True),
        ({"cnf": "x5t#S256"}, True),
    ],
    ids=["opaque", "bound", "to-another", "unbound", "another-kind", "text"],
)
async def test_a_provider_that_binds_no_token(
    redis_server: RedisServer, provider: ServedProvider, tmp_path: Path, claims: Any, told: bool
) -> None:
    """It promises tokens that are bound to our certificate: one that says it is not is told of, once."""
    made = self_signed(tmp_path)
    ours = sha256(ssl.PEM_cert_to_DER_cert(made.cert.read_text())).digest()
    token = "opaque"
    if claims is not None:
        text = json.dumps(claims).replace("ours", urlsafe_b64encode(ours).decode().rstrip("="))
        token = jwt_of(json.loads(text))
    mtls: dict[str, Any] = {
        "token_binding": "mtls",
        "client_cert_file": made.cert,
        "client_cert_key_file": made.key,
    }
    async with running_site(redis_server, provider, **mtls) as site:
        honest = provider._tokens

        def lying(form: dict[str, str]) -> tuple[int, Any]:
            status, document = honest(form)
            return status, document | {"access_token": token}

        provider._tokens = lying  # type: ignore[method-assign] # a stub
        with capture_logs() as lines:
            for _ in range(2):
                assert "/" == (await site.sign_in(site.browser())).headers["location"]
    assert ["token_not_bound"] * told == [line["event"] for line in lines if line["log_level"] == "warning"]
