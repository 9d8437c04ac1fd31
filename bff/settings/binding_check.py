"""Checks of the settings of device-bound sessions. Pure."""

from collections.abc import Iterator

from bff.settings.model import Settings
from bff.settings.problem import Finding

_SHORT_PROOF = 240.0


def check_binding(settings: Settings) -> Iterator[Finding]:
    """Findings about `session.device_binding`, and about the routes for bound sessions alone."""
    session, key = settings.session, "session.device_binding"
    if session.device_binding == "required" and not settings.server.public_url.startswith("https://"):
        yield Finding(
            key,
            "demands bound sessions, and browsers bind none where server.public_url is http",
            'write "offered", or use https',
            needs=("server.public_url",),
        )
    if session.device_binding != "off" and session.bound_cookie_lifetime < _SHORT_PROOF:
        yield Finding(
            "session.bound_cookie_lifetime",
            "is shorter than browsers renew: Chromium signs six times in nine minutes, and then no more",
            'write "5m", or remove the line',
            needs=(key,),
            warning=True,
        )
    for index, route in enumerate(settings.route):
        at = f"route[{index}]"
        if route.bound and session.device_binding == "off":
            yield Finding(
                f"{at}.bound",
                "is set, and session.device_binding lets no session be bound: nobody could call it",
                'write device_binding = "offered", or remove the line',
                needs=(key,),
            )
        if route.bound and route.auth not in {"required", "optional"}:
            yield Finding(
                f"{at}.bound",
                f'means nothing with auth = "{route.auth}": callers without a session are bound to no device',
                "remove one of the two",
                needs=(f"{at}.auth",),
            )
