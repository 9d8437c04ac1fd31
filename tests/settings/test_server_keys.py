"""Server keys with their times, and which of them count."""

import pytest

from bff.settings.server_keys import SPREAD, ServerKey, in_force, parse_key, rotated
from tests.support.settings import KEY, OTHER

NOW = 1_800_000_000.0
THIRD = "C" + KEY[1:]

pytestmark = pytest.mark.requirement("S-09")


def secrets(keys: tuple[ServerKey, ...]) -> list[str]:
    return [key.secret for key in keys]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (KEY, ServerKey(KEY)),
        (f"{KEY}=", ServerKey(KEY)),
        (f"{KEY}  made=2027-01-15T08:00:00Z", ServerKey(KEY, made=NOW)),
        (f"{KEY} until=2027-01-15T09:00:00+01:00", ServerKey(KEY, until=NOW)),
        (
            f"{KEY} signs=2027-01-15T08:00:01 until=2027-01-15T08:00:02Z",
            ServerKey(KEY, None, NOW + 1, NOW + 2),
        ),
    ],
)
def test_a_line(text: str, key: ServerKey) -> None:
    """A key and its times read back as they were written; the secret stays out of `repr`."""
    assert key == parse_key(text)
    assert key == parse_key(key.line())
    assert KEY not in repr(key)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "short",
        KEY[:-1],
        f"{KEY} {OTHER}",
        f"{KEY} made=yesterday",
        f"{KEY} made=",
        f"{KEY} begins=2027-01-15",
        f"{KEY} until=2027-01-15 until=2027-01-16",
        "A" * 43,
    ],
)
def test_no_line(text: str) -> None:
    """Anything else is refused, in words that hold nothing of it."""
    with pytest.raises(ValueError, match=r"is not 32|made|signs|until") as refused:
        parse_key(text)
    assert KEY[:8] not in str(refused.value)


def test_a_key_that_waits_verifies_only() -> None:
    """What several processes read at different moments is known to all before one of them signs with it."""
    waiting, former = ServerKey(OTHER, signs=NOW + 10), ServerKey(KEY)
    assert [KEY, OTHER] == secrets(in_force([waiting, former], NOW))
    assert [OTHER, KEY] == secrets(in_force([waiting, former], NOW + 10))
    assert [OTHER] == secrets(in_force([waiting], NOW))


def test_a_key_whose_time_has_passed_counts_no_more() -> None:
    """It is left out, unless there would be no key at all."""
    new, former = ServerKey(OTHER), ServerKey(KEY, until=NOW)
    assert [OTHER, KEY] == secrets(in_force([new, former], NOW - 1))
    assert [OTHER] == secrets(in_force([new, former], NOW))
    assert [KEY] == secrets(in_force([former], NOW))


def test_a_rotation() -> None:
    """The former key verifies until the last session that it can have signed is over; then it goes."""
    first = rotated([ServerKey(KEY)], OTHER, NOW, lead=0, longest=3600)
    over = NOW + SPREAD + 3600
    assert (ServerKey(OTHER, made=NOW), ServerKey(KEY, until=over)) == first
    second = rotated(first, THIRD, NOW + 60, lead=600, longest=3600)
    assert [THIRD, OTHER, KEY] == secrets(second)
    assert [None, NOW + 660 + SPREAD + 3600, over] == [key.until for key in second]
    assert NOW + 660 == second[0].signs
    assert [KEY, THIRD] == secrets(rotated(second[:1], KEY, over, lead=0, longest=1))
    assert [KEY] == secrets(rotated([ServerKey(OTHER, until=NOW)], KEY, NOW, lead=0, longest=1))
