"""The policy that a development server's page comes with."""

from typing import Any

import pytest

from bff.policy.header_rules import HeaderRules
from bff.policy.public_origin import PublicOrigin
from bff.settings.model import Settings

CSP = "default-src 'self'"


def extra(**spa: Any) -> dict[bytes, bytes]:
    """What the page's answers get beside their own header, nosniff apart."""
    settings = Settings.model_validate(
        {
            "server": {"public_url": "http://localhost:8080"},
            "provider": {"issuer": "https://id.example.com", "client_id": "spa"},
            "spa": {"url": "http://127.0.0.1:5173", "csp": CSP} | spa,
        }
    )
    (page,) = settings.served_routes()
    rules = HeaderRules.compiled(page, PublicOrigin.parse("http://localhost:8080"), b"x-csrf")
    return {name: value for name, value in rules.response_extra if name != b"x-content-type-options"}


@pytest.mark.parametrize(
    ("expected", "setting"),
    [
        ({b"content-security-policy-report-only": CSP.encode()}, {}),
        ({b"content-security-policy": CSP.encode()}, {"development_csp": "enforce"}),
        ({}, {"development_csp": "off"}),
    ],
)
def test_a_page_in_development_meets_its_policy(
    expected: dict[bytes, bytes], setting: dict[str, str]
) -> None:
    """So that what the built page would be refused is seen before it is built."""
    assert expected == extra(**setting)
