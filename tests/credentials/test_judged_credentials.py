"""The rule of a route is asked on each way to a credential, whoever's token the backend gets."""

from dataclasses import replace
from typing import Any

import pytest

from bff.credentials.credential import Refused, Signed
from bff.credentials.judged_credentials import (
    JudgedClientCredentials,
    JudgedCredentials,
    JudgedExchangedCredentials,
    JudgedMintedCredentials,
)
from bff.credentials.session_credentials import Credentials
from bff.errors import Problem
from bff.policy.route_access import RouteAccess
from bff.session.model import Found, OwnToken
from bff.settings.model import RefreshSettings, RouteSettings
from tests.session.sample import NOW, sample_session

ROUTE = RouteSettings.model_validate(
    {"path": "/a", "upstream": "http://b", "allow": {"g": "staff"}, "bound": True, "max_age": "1m"}
)
LET_IN = {"g": "staff", "auth_time": NOW}
TOKEN = OwnToken("own", NOW, None)
KINDS = [
    JudgedCredentials,
    JudgedClientCredentials,
    JudgedMintedCredentials,
    JudgedExchangedCredentials,
]


class Site:
    """The credentials of one kind; `asked` counts the tokens that are got for a backend."""

    def __init__(self, kind: type[JudgedCredentials], monkeypatch: pytest.MonkeyPatch, found: Found) -> None:
        self.asked = 0
        made: Any = kind.__new__(kind)
        made._access, made.clock = RouteAccess.of(0, ROUTE), lambda: NOW
        made._refresh_settings = RefreshSettings(min_age_for_401=0)
        signed = Signed(found)

        async def at_once(*_: Any, **__: Any) -> Signed:
            return signed

        async def current(*_: Any) -> Found:
            return found

        async def got(*_: Any, **__: Any) -> OwnToken:
            self.asked += 1
            return TOKEN

        async def exchanged(*_: Any) -> Found:
            self.asked += 1
            return found

        monkeypatch.setattr(Credentials, "at_hand", lambda *_: signed)
        for way in ("obtain", "again", "renew"):
            monkeypatch.setattr(Credentials, way, at_once)
        made._current, made.token_for, made._exchange = current, got, exchanged
        made.token_at_hand = lambda _: TOKEN
        made._own = lambda _: None
        self.signed, self.credentials = signed, made

    async def outcomes(self) -> list[Any]:
        """What comes of each way to a credential that may take a wait."""
        credentials: Credentials = self.credentials
        return [
            await credentials.obtain([b"bff=a"], address=""),
            await credentials.again(self.signed, required=True),
            await credentials.renew(self.signed, invalid_token=True, mode="any"),
        ]


@pytest.mark.requirement("P-07")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("problem", "claims", "bound"),
    [
        (Problem.NOT_ALLOWED, {**LET_IN, "g": "guests"}, True),
        (Problem.BINDING_REQUIRED, LET_IN, False),
        (Problem.STEP_UP_REQUIRED, {**LET_IN, "auth_time": NOW - 60}, True),
        (None, LET_IN, True),
    ],
)
async def test_no_way_goes_past_the_rule(
    kind: type[JudgedCredentials],
    monkeypatch: pytest.MonkeyPatch,
    problem: Problem | None,
    claims: dict[str, Any],
    *,
    bound: bool,
) -> None:
    """A new call, one that waited, a backend's 401: each is judged by the claims as they are then."""
    found = Found("handle", replace(sample_session(), claims=claims, bound=bound))
    site = Site(kind, monkeypatch, found)
    outcomes = await site.outcomes()
    if problem is None:
        assert [Signed] * 3 == [type(outcome) for outcome in outcomes]
    else:
        assert [problem] * 3 == [
            outcome.problem if isinstance(outcome, Refused) else None for outcome in outcomes
        ]
        assert 0 == site.asked, "a token is got for a call that goes to no backend"
    if kind is not JudgedExchangedCredentials:
        assert (problem is None) is (site.credentials.at_hand([b"bff=a"]) is not None)
