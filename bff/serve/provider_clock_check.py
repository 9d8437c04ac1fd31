"""A check that this machine's clock and the provider's agree, by the Date of an answer. Pure."""

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from bff.serve.check_result import Check
from bff.settings.model import ProviderSettings

_ANSWER_TIME: Final = 15.0  # seconds that the answer itself may have taken


def compare_clocks(headers: Mapping[str, str], settings: ProviderSettings, now: float) -> list[Check]:
    """Returns a result where the clocks differ by more than `provider.clock_skew`, else nothing.

    It is advice: the Date (RFC 9110 6.6.1) may be that of a server in front of the provider. An answer out of
    a cache is as much older as its Age says.
    """
    try:
        date = parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, OverflowError):
        return []
    age = headers.get("age", "")
    there = date.replace(tzinfo=date.tzinfo or UTC).timestamp()
    there += int(age[:9]) if age.isascii() and age.isdigit() else 0
    behind = there - now
    if abs(behind) <= max(settings.clock_skew, _ANSWER_TIME):
        return []
    detail = f"this clock is {abs(behind):.0f} s {'behind' if behind > 0 else 'ahead of'} the provider's"
    fix = "set the wrong clock (chrony, NTP): else sign_in_failed with id_token_iat or id_token_exp"
    return [Check("provider clock", settings.issuer, True, detail, fix)]
