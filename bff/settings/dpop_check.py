"""Checks of the settings about proofs of possession (RFC 9449). Pure."""

from collections.abc import Iterator

from bff.settings.model import Settings
from bff.settings.problem import Finding


def check_dpop(settings: Settings) -> Iterator[Finding]:
    """Findings about routes that say whether tokens go with a proof."""
    bound = any(provider.over_dpop() for provider in settings.providers())
    for index, route in enumerate(settings.route):
        at = f"route[{index}]"
        if route.dpop is None:
            continue
        kind = route.token_kind()
        if kind == "none" or (route.auth == "none" and kind != "client"):
            yield Finding(
                f"{at}.dpop",
                "is about tokens, and this backend gets none",
                "remove the line",
                needs=(f"{at}.auth", f"{at}.token"),
            )
        elif route.dpop and not bound:
            yield Finding(
                f"{at}.dpop",
                "is set, but no token is bound to a key that could prove it",
                'set provider.token_binding = "dpop", or remove the line',
                needs=("provider.token_binding",),
            )
