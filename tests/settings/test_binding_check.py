"""Settings of device-bound sessions that make no sense together."""

from typing import Any

import pytest

from tests.settings.test_check import keys
from tests.settings.test_check import route as on


@pytest.mark.requirement("P-12")
@pytest.mark.parametrize(
    ("expected", "session", "route", "public_url"),
    [
        ([], {"device_binding": "offered"}, {"bound": True}, "https://app.example.com"),
        ([], {"device_binding": "offered"}, {"bound": True, "auth": "optional"}, "http://localhost:8080"),
        ([], {"device_binding": "required", "bound_cookie_lifetime": "4m"}, {}, "https://app.example.com"),
        ([], {"bound_cookie_lifetime": "1m"}, {}, "https://app.example.com"),
        (["session.device_binding"], {"device_binding": "required"}, {}, "http://localhost:8080"),
        (
            ["session.bound_cookie_lifetime"],
            {"device_binding": "offered", "bound_cookie_lifetime": "3m"},
            {},
            "https://app.example.com",
        ),
        (["route[0].bound"], {}, {"bound": True}, "https://app.example.com"),
        (
            ["route[0].bound"],
            {"device_binding": "offered"},
            {"bound": True, "auth": "session or bearer"},
            "https://app.example.com",
        ),
    ],
)
def test_what_cannot_be_meant(
    expected: list[str], session: dict[str, Any], route: dict[str, Any], public_url: str
) -> None:
    """A mistake is named by the setting that it rests on."""
    found = keys(session=session, route=[on(**route)], server={"public_url": public_url})
    assert expected == [key for key in found if key.endswith(("bound", "binding", "bound_cookie_lifetime"))]
